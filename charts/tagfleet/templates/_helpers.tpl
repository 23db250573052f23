{{- define "tagfleet.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- /* The operator's Deployment, ServiceAccount and Service: `tagfleet-operator` for a release `tagfleet`. */ -}}
{{- define "tagfleet.fullname" -}}
{{- $name := include "tagfleet.name" . -}}
{{- $release := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default (printf "%s-operator" ($release | trunc 54 | trimSuffix "-")) -}}
{{- end -}}

{{- define "tagfleet.service-account" -}}
{{- .Values.serviceAccount.name | default (ternary (include "tagfleet.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- /*
What the operator calls itself at the API server, and so the names of its rights: they do not hang on the release, so that
Helm refuses a second release that would look after the same.
*/ -}}
{{- define "tagfleet.identity" -}}
tagfleet-operator{{ with .Values.watchNamespace }}-{{ . }}{{ end }}
{{- end -}}

{{- /* The fleets' NetworkPolicies let pods of this name, in this namespace, reach the admin port. */ -}}
{{- define "tagfleet.selector" -}}
app.kubernetes.io/name: tagfleet-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "tagfleet.common-labels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: tagfleet
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "tagfleet.labels" -}}
{{ include "tagfleet.selector" . }}
{{ include "tagfleet.common-labels" . }}
{{- end -}}

{{- define "tagfleet.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The ServiceAccount, as RBAC names it. */ -}}
{{- define "tagfleet.subjects" -}}
- {kind: ServiceAccount, name: {{ include "tagfleet.service-account" . }}, namespace: {{ .Release.Namespace }}}
{{- end -}}
