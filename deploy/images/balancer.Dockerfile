# Switchtender balancer. The context is the folder that `make dist` fills:
#   make dist && docker build -f deploy/images/balancer.Dockerfile -t switchtender/balancer dist
# BASE is any image with Python 3.11 or newer, its venv and pip; nothing is fetched, nothing is compiled.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
COPY wheels /dist/wheels
COPY balancer.txt /dist/
# The generated models of the kubernetes package are loaded on demand, and we demand none: compiling them doubles the image.
RUN python3 -m venv /opt/switchtender \
 && /opt/switchtender/bin/pip install --disable-pip-version-check --no-cache-dir --no-compile --no-index --find-links /dist/wheels \
      --require-hashes -r /dist/balancer.txt \
 && /opt/switchtender/bin/pip uninstall --yes --quiet setuptools pip \
 && python3 -m compileall -q -x '/kubernetes/(aio/)?client/(api|models)/' /opt/switchtender/lib

FROM ${BASE}
LABEL org.opencontainers.image.title="Switchtender balancer" \
      org.opencontainers.image.description="SIP load balancer that steers calls over FreeSWITCH nodes by the load they report" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/switchtender /opt/switchtender
ENV PATH=/opt/switchtender/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 35060:35060
ENTRYPOINT ["switchtender"]
CMD ["serve", "--kubernetes", "--config", "/etc/switchtender/balancer.yaml"]
