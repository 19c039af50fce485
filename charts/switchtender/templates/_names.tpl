{{/* Names, labels, images: what every template needs. */}}

{{- define "switchtender.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Room is left for the longest suffix, "-operator". */}}
{{- define "switchtender.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 54 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 54 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 54 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "switchtender.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* A name in namespaces of others, or in none: two releases of one name in two namespaces must not meet. */}}
{{- define "switchtender.globalName" -}}
{{- printf "%s:%s" (include "switchtender.namespace" .) (include "switchtender.fullname" .) -}}
{{- end -}}

{{/* What stays the same over upgrades; (list $ "component"). */}}
{{- define "switchtender.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "switchtender.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of a pod: no version, so that an upgrade which changes nothing else leaves pods alone; (list $ "component"). */}}
{{- define "switchtender.podLabels" -}}
app.kubernetes.io/part-of: switchtender
{{ include "switchtender.selector" . }}
{{- with (index . 0).Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of an object; (list $ "component"). */}}
{{- define "switchtender.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{ include "switchtender.podLabels" . }}
{{- end -}}

{{/* The metadata of an object; (list $ "component" "name" (dict of annotations) (dict of labels) "namespace, empty for the release's"). */}}
{{- define "switchtender.metadata" -}}
{{- $root := index . 0 -}}
{{- $annotations := mustMerge (dict) (index . 3) $root.Values.commonAnnotations -}}
name: {{ index . 2 | quote }}
{{- if ne (index . 5) "cluster" }}
namespace: {{ default (include "switchtender.namespace" $root) (index . 5) }}
{{- end }}
labels:
  {{- include "switchtender.labels" (list $root (index . 1)) | nindent 2 }}
  {{- with index . 4 }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* (list $ "operator" or "balancer") */}}
{{- define "switchtender.serviceAccount" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $account := (index $root.Values $component).serviceAccount -}}
{{- if $account.name -}}
{{- $account.name -}}
{{- else if $account.create -}}
{{- printf "%s-%s" (include "switchtender.fullname" $root) $component -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{/* (list $ image) */}}
{{- define "switchtender.image" -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default (index . 0).Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}
