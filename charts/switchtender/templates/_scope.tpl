{{/* Which namespaces are watched, and what may be done there. */}}

{{/* "true" or "" */}}
{{- define "switchtender.clusterWide" -}}
{{- $asked := .Values.config.clusterWide -}}
{{- if kindIs "invalid" $asked -}}
{{- if not .Values.watchNamespaces -}}true{{- end -}}
{{- else if $asked -}}
{{- if .Values.watchNamespaces -}}
{{- fail "config.clusterWide is true and watchNamespaces is given: set config.clusterWide to false, or leave watchNamespaces empty" -}}
{{- end -}}
true
{{- end -}}
{{- end -}}

{{/* The watched namespaces, as JSON; none where all are. */}}
{{- define "switchtender.watched" -}}
{{- if include "switchtender.clusterWide" . -}}
[]
{{- else -}}
{{- .Values.watchNamespaces | default (list (include "switchtender.namespace" .)) | uniq | sortAlpha | toJson -}}
{{- end -}}
{{- end -}}

{{/* What the operator does where groups are. */}}
{{- define "switchtender.operatorRules" -}}
- apiGroups: [switchtender.dev]
  resources: [balancergroups]
  verbs: [get, list, watch]
- apiGroups: [switchtender.dev]
  resources: [balancergroups/status]
  verbs: [patch]
- apiGroups: [switchtender.dev]
  resources: [destinationsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- if or .Values.operator.podMarks .Values.operator.autoscale.targets }}
- apiGroups: [""]
  resources: [pods]
  verbs: [patch]
{{- end }}
{{- range .Values.operator.autoscale.targets }}
{{- $target := regexReplaceAll "^[^/]+$" . (printf "apps/v1/%ss:%s" (lower .) .) }}
{{- $path := splitList "/" (first (splitList ":" $target)) }}
- apiGroups: [{{ first $path }}]
  resources: [{{ last $path }}]
  verbs: [get]
- apiGroups: [{{ first $path }}]
  resources: [{{ last $path }}/scale]
  verbs: [get, patch]
{{- end }}
{{- if .Values.operator.autoscale.targets }}
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list]
{{- end }}
{{- end -}}

{{/* What a balancer does where groups are. No names in resourceNames would mean every name, so no name means no rule. */}}
{{- define "switchtender.balancerRules" -}}
- apiGroups: [switchtender.dev]
  resources: [destinationsets]
  verbs: [get, list, watch]
{{- with .Values.esl.secretNames }}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: {{ toJson . }}
  verbs: [get, list, watch]
{{- end }}
{{- end -}}

{{/* "true" or "": whether the API server is asked who may trace calls. Both of its answers are those of the whole cluster. */}}
{{- define "switchtender.tokenReview" -}}
{{- if .Values.balancer.http.admin.tokenReview -}}
{{- if not (include "switchtender.clusterWide" .) -}}
{{- fail "balancer.http.admin.tokenReview needs rights at cluster scope, and this installation has none (config.clusterWide: false, or watchNamespaces): leave it false" -}}
{{- end -}}
true
{{- end -}}
{{- end -}}

{{/* "true" or "": whether the operator watches Kubernetes nodes, which stand in no namespace. */}}
{{- define "switchtender.drainCordonedNodes" -}}
{{- if .Values.operator.drainCordonedNodes -}}
{{- if not (include "switchtender.clusterWide" .) -}}
{{- fail "operator.drainCordonedNodes needs rights at cluster scope, and this installation has none (config.clusterWide: false, or watchNamespaces): leave it false" -}}
{{- end -}}
true
{{- end -}}
{{- end -}}

{{/* A rule that binds a role to a ServiceAccount of the release; (list $ "component" "kind of role" "name of role") */}}
{{- define "switchtender.binding" -}}
{{- $root := index . 0 -}}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ index . 2 }}
  name: {{ index . 3 | quote }}
subjects:
- kind: ServiceAccount
  name: {{ include "switchtender.serviceAccount" (list $root (index . 1)) }}
  namespace: {{ include "switchtender.namespace" $root }}
{{- end -}}
