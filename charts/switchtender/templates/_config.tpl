{{/* The BalancerConfig: from the chart's own values, and what balancer.config says over it. */}}

{{- define "switchtender.nat" -}}
{{- if kindIs "invalid" .Values.balancer.nat -}}
{{- not .Values.balancer.hostNetwork -}}
{{- else -}}
{{- .Values.balancer.nat -}}
{{- end -}}
{{- end -}}

{{/* The spec, as JSON. */}}
{{- define "switchtender.balancerSpec" -}}
{{- $values := .Values.balancer -}}
{{- $fullname := include "switchtender.fullname" . -}}
{{- range list "http" "stateDir" "peers" -}}
{{- if hasKey $values.config . -}}
{{- fail (printf "balancer.config.%s is the chart's own; %s" . (eq . "http" | ternary "set balancer.httpPort and balancer.http" "leave it out")) -}}
{{- end -}}
{{- end -}}
{{- $listener := dict "name" "public" "address" $values.listenAddress "port" (int $values.sipPort) "transports" $values.service.protocols "nat" (eq (include "switchtender.nat" .) "true") -}}
{{- $host := $values.advertise.host | default $values.service.loadBalancerIP -}}
{{- if $host -}}
{{- $port := $values.advertise.port | default ($values.hostNetwork | ternary $values.sipPort ($values.service.port | default $values.sipPort)) -}}
{{- $_ := set $listener "advertise" (dict "host" $host "port" (int $port)) -}}
{{- else if $values.advertise.port -}}
{{- fail "balancer.advertise.port needs balancer.advertise.host" -}}
{{- end -}}
{{- $service := dict "networks" $values.nodeSide.networks "service" (printf "%s-nodes" $fullname) "port" (int $values.nodeSidePort) -}}
{{- $nodeSide := dict
  "address" $values.nodeSide.address
  "port" (int $values.nodeSidePort)
  "workerPorts" $values.workerPorts
  "advertise" (append $values.nodeSide.advertise $service)
  "sources" $values.nodeSide.sources -}}
{{- $spec := dict
  "listeners" (list $listener)
  "nodeSide" $nodeSide
  "workers" $values.workers
  "stop" (dict "deadline" $values.stop.deadline)
  "peers" (dict "service" (printf "%s-peers" $fullname))
  "stateDir" "/var/lib/switchtender"
  "http" (dict "address" "$(POD_IP)" "port" (int $values.httpPort)) -}}
{{- if include "switchtender.tokenReview" . -}}
{{- $_ := set $spec.http "admin" (dict "tokenReview" true) -}}
{{- end -}}
{{- $merged := mustMergeOverwrite $spec (deepCopy $values.config) -}}
{{- if ne (int $merged.nodeSide.port) (int $values.nodeSidePort) -}}
{{- fail "balancer.config.nodeSide.port: set balancer.nodeSidePort, which the Service follows" -}}
{{- end -}}
{{- toJson $merged -}}
{{- end -}}

{{/* The document that stands in the ConfigMap. */}}
{{- define "switchtender.balancerConfig" -}}
{{- dict
  "apiVersion" "switchtender.dev/v1alpha1"
  "kind" "BalancerConfig"
  "metadata" (dict "name" .Values.balancer.name)
  "spec" (include "switchtender.balancerSpec" . | fromJson) | toYaml -}}
{{- end -}}

{{/* A duration such as 180s or 1m30s in whole seconds, rounded up. */}}
{{- define "switchtender.seconds" -}}
{{- if not (regexMatch "^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$" .) -}}
{{- fail (printf "%s is no duration: write 500ms, 90s, 1m30s or 1h" .) -}}
{{- end -}}
{{- $milliseconds := 0 -}}
{{- range regexFindAll "[0-9]+[a-z]+" . -1 -}}
{{- $factor := get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000) (regexFind "[a-z]+" .) -}}
{{- $milliseconds = add $milliseconds (mul (regexFind "[0-9]+" . | int64) $factor) -}}
{{- end -}}
{{- div (add $milliseconds 999) 1000 -}}
{{- end -}}

{{/* Seconds that a balancer's pod gets: more than it may wait for calls in set-up. */}}
{{- define "switchtender.grace" -}}
{{- $deadline := (include "switchtender.balancerSpec" . | fromJson).stop.deadline -}}
{{- $seconds := include "switchtender.seconds" $deadline | int64 -}}
{{- $asked := .Values.balancer.terminationGracePeriodSeconds -}}
{{- if kindIs "invalid" $asked -}}
{{- add $seconds 20 -}}
{{- else if le (int64 $asked) $seconds -}}
{{- fail (printf "balancer.terminationGracePeriodSeconds (%d) must be more than balancer.stop.deadline (%s)" (int64 $asked) $deadline) -}}
{{- else -}}
{{- $asked -}}
{{- end -}}
{{- end -}}
