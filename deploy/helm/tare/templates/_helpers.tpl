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
