{{/* The name of the chart, or what replaces it. */}}
{{- define "artifactstore.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* The name of the objects. 50 characters leave room for what comes behind it. */}}
{{- define "artifactstore.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := include "artifactstore.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* What selects the pods of the nodes. It never changes. */}}
{{- define "artifactstore.selector" -}}
app.kubernetes.io/name: {{ include "artifactstore.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: node
{{- end }}

{{- define "artifactstore.labels" -}}
app.kubernetes.io/name: {{ include "artifactstore.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ default .Chart.AppVersion .Values.image.tag | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "artifactstore.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end }}

{{- define "artifactstore.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "artifactstore.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end }}

{{/*
A value of the configuration as YAML. Everything is quoted, which every key
takes. Helm reads numbers as floating point and would write 5242880 as 5.24288e+06.
*/}}
{{- define "artifactstore.value" -}}
{{- if kindIs "float64" . -}}
{{ printf "%.0f" . | quote }}
{{- else -}}
{{ . | toString | quote }}
{{- end -}}
{{- end }}

{{/* The configuration: what the values have, and what only the chart knows. */}}
{{- define "artifactstore.config" -}}
{{- $config := deepCopy .Values.config }}
{{- $database := deepCopy (default dict $config.database) }}
{{- $_ := set $database "dsn_file" (printf "/etc/artifactstore/database/%s" .Values.database.key) }}
{{- $_ := set $config "database" $database }}
{{- $s3 := deepCopy (default dict $config.s3) }}
{{- $_ := set $s3 "spool" "/spool" }}
{{- if .Values.s3.existingSecret }}
{{- $_ := set $s3 "access_key_id_file" (printf "/etc/artifactstore/s3/%s" .Values.s3.accessKeyIdKey) }}
{{- $_ := set $s3 "secret_access_key_file" (printf "/etc/artifactstore/s3/%s" .Values.s3.secretAccessKeyKey) }}
{{- end }}
{{- $_ := set $config "s3" $s3 }}
{{- if .Values.tls.existingSecret }}
{{- $_ := set $config "tls" (dict "cert" "/etc/artifactstore/tls/tls.crt" "key" "/etc/artifactstore/tls/tls.key") }}
{{- end }}
{{- range $name, $value := $config }}
{{- if kindIs "map" $value }}
{{ $name }}:
{{- range $key, $leaf := $value }}
  {{ $key }}: {{ include "artifactstore.value" $leaf }}
{{- end }}
{{- else if not (kindIs "invalid" $value) }}
{{ $name }}: {{ include "artifactstore.value" $value }}
{{- end }}
{{- end }}
{{- end }}

{{/* What the chart cannot do without, each with what to do about it. */}}
{{- define "artifactstore.check" -}}
{{- if not .Values.config.insecure_no_auth }}
{{- fail "there are no accounts yet: whoever reaches the pods can pull, push and delete. Set config.insecure_no_auth to true if something guards them, such as networkPolicy and an ingress that asks for a password" }}
{{- end }}
{{- if not (dig "s3" "bucket" "" .Values.config) }}
{{- fail "set config.s3.bucket to the name of the bucket" }}
{{- end }}
{{- if not .Values.database.existingSecret }}
{{- fail "set database.existingSecret to the name of a Secret whose key dsn says how to reach PostgreSQL" }}
{{- end }}
{{- with .Values.autoscaling }}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) }}
{{- fail "autoscaling.minReplicas must not be above autoscaling.maxReplicas" }}
{{- end }}
{{- end }}
{{- $rolling := .Values.strategy.rollingUpdate }}
{{- if and (eq .Values.strategy.type "RollingUpdate") (has (toString $rolling.maxSurge) (list "0" "0%")) (has (toString $rolling.maxUnavailable) (list "0" "0%")) }}
{{- fail "strategy.rollingUpdate.maxSurge and maxUnavailable cannot both be 0: no node could be replaced" }}
{{- end }}
{{- with .Values.terminationGracePeriodSeconds }}
{{- if le (int .) (int $.Values.preStopSeconds) }}
{{- fail "terminationGracePeriodSeconds must be longer than preStopSeconds: requests in flight would be cut off" }}
{{- end }}
{{- end }}
{{- end }}

{{/* A duration of the configuration (1h30m, 45s) in whole seconds. */}}
{{- define "artifactstore.seconds" -}}
{{- $total := 0 }}
{{- range $unit, $seconds := dict "h" 3600 "m" 60 "s" 1 }}
{{- range regexFindAll (printf "[0-9]+%s" $unit) (regexReplaceAll "[0-9.]+(ms|us|µs|ns)" (toString $) "") -1 }}
{{- $total = add $total (mul $seconds (trimSuffix $unit . | int)) }}
{{- end }}
{{- end }}
{{- $total }}
{{- end }}

{{/* Time in which a pod must end: the pause, the requests in flight, and some. */}}
{{- define "artifactstore.grace" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{ add .Values.preStopSeconds (include "artifactstore.seconds" (dig "shutdown" "timeout" "30s" .Values.config) | int) 15 }}
{{- else -}}
{{ .Values.terminationGracePeriodSeconds }}
{{- end -}}
{{- end }}

{{/* The pod and its containers without rights: the image's user, which has no name. */}}
{{- define "artifactstore.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "artifactstore.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Volumes and their places, of a node and of the migration. The argument has the
top as root, and the name of the ConfigMap. */}}
{{- define "artifactstore.volumes" -}}
- name: config
  configMap:
    name: {{ .config }}
- name: database
  secret:
    secretName: {{ .root.Values.database.existingSecret }}
    defaultMode: 0440
{{- with .root.Values.s3.existingSecret }}
- name: s3
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with .root.Values.tls.existingSecret }}
- name: tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
- name: data
  emptyDir: {}
- name: spool
  emptyDir:
    sizeLimit: {{ .root.Values.spool.sizeLimit }}
{{- end }}

{{- define "artifactstore.mounts" -}}
- name: config
  mountPath: /etc/artifactstore/config
  readOnly: true
- name: database
  mountPath: /etc/artifactstore/database
  readOnly: true
{{- if .Values.s3.existingSecret }}
- name: s3
  mountPath: /etc/artifactstore/s3
  readOnly: true
{{- end }}
{{- if .Values.tls.existingSecret }}
- name: tls
  mountPath: /etc/artifactstore/tls
  readOnly: true
{{- end }}
- name: data
  mountPath: /data
- name: spool
  mountPath: /spool
- name: spool
  mountPath: /tmp
{{- end }}
