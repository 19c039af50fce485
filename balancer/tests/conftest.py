"""What the balancer's tests share: a small valid configuration."""

import pytest

CONFIG = """\
apiVersion: switchtender.dev/v1alpha1
kind: BalancerConfig
metadata: {name: default}
spec:
  listeners:
  - {name: public, address: 127.0.0.1, port: 5060}
  stateDir: %s
---
apiVersion: switchtender.dev/v1alpha1
kind: BalancerGroup
metadata: {name: ivr, namespace: voice}
spec:
  members:
    static:
    - {name: fs1, sip: "sip:127.0.0.11", load: "fs://:ClueCon@127.0.0.11"}
    - {name: fs2, sip: "sip:127.0.0.12:5080", load: "fs://127.0.0.12:8022", weight: 3, priority: 5}
  esl: {passwordFrom: {env: ESL_PASSWORD}}
"""


@pytest.fixture
def config_text(tmp_path):
    return CONFIG % (tmp_path / "state")


@pytest.fixture
def config_file(tmp_path, config_text):
    path = tmp_path / "switchtender.yaml"
    path.write_text(config_text)
    return path
