{{- /* A CRD with labels and annotations: the only `spec:` at the left edge ends its metadata. */ -}}
{{- define "tagfleet-crds.with-metadata" -}}
{{- $metadata := include "tagfleet-crds.metadata" .context -}}
{{- .crd | trim | replace "\nspec:\n" (printf "%s\nspec:\n" $metadata) -}}
{{- end -}}

{{- define "tagfleet-crds.metadata" -}}
{{- $labels := dict
  "app.kubernetes.io/name" "tagfleet-crds"
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/part-of" "tagfleet"
  "app.kubernetes.io/managed-by" .Release.Service
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") -}}
{{- /* Without this, `helm uninstall` would delete every TaggingContainer and Destination of the cluster. */ -}}
{{- $keep := dict "helm.sh/resource-policy" "keep" }}
  labels:
    {{- merge $labels .Values.labels | toYaml | nindent 4 }}
  annotations:
    {{- merge $keep .Values.annotations | toYaml | nindent 4 }}
{{- end -}}
