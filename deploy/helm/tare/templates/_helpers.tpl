{{- define "tare.selector" -}}
app.kubernetes.io/name: tare
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tare.labels" -}}
{{ include "tare.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}
{{/* Another name for another text, so that a changed text starts new pods. */}}
{{- define "tare.config" -}}
{{ .Release.Name }}-{{ .Values.config | sha256sum | trunc 10 }}
{{- end }}
