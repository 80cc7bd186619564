package config

import "artifactstore/retention"

// The schemas of the settings that are structures, as retention.Document has them.

func classesSchema() map[string]any {
	return map[string]any{"type": "object", "propertyNames": map[string]any{"pattern": "^[a-z][a-z0-9-]{0,62}$"},
		"additionalProperties": termSchema(true), "maxProperties": retention.MaxClasses, "default": map[string]any{}}
}

func policiesSchema() map[string]any {
	return map[string]any{"type": "array", "maxItems": retention.MaxPolicies, "default": []any{},
		"items": strictObject([]string{"name", "repositories"}, map[string]any{
			"name":            nameSchema(),
			"repositories":    patternsSchema(),
			"class":           map[string]any{"type": "string"},
			"choose":          map[string]any{"type": "array", "items": map[string]any{"type": "string"}},
			"expire_tagged":   map[string]any{"type": "boolean"},
			"expire_untagged": termSchema(true),
			"keep": map[string]any{"type": "array", "maxItems": retention.MaxRules, "items": strictObject([]string{"name"}, map[string]any{
				"name":          nameSchema(),
				"tags":          patternsSchema(),
				"newest":        map[string]any{"type": "integer", "minimum": 1, "maximum": retention.MaxNewest},
				"pushed_within": termSchema(false),
				"pulled_within": termSchema(false),
			})},
			"immutable_tags": map[string]any{"type": "array", "maxItems": retention.MaxRules, "items": strictObject([]string{"tags"}, map[string]any{
				"tags":  patternsSchema(),
				"until": map[string]any{"type": "string"},
			})},
			"write_once": map[string]any{"type": "boolean"},
		})}
}

func strictObject(required []string, members map[string]any) map[string]any {
	return map[string]any{"type": "object", "additionalProperties": false, "required": required, "properties": members}
}

func nameSchema() map[string]any {
	return map[string]any{"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,62}$"}
}

func patternsSchema() map[string]any {
	return map[string]any{"type": "array", "minItems": 1, "maxItems": retention.MaxRules, "items": map[string]any{"type": "string"}}
}

// termSchema is that of a term, which can be never.
func termSchema(never bool) map[string]any {
	pattern := "^[1-9][0-9]*[smhdwy]$"
	if never {
		pattern = "^(never|[1-9][0-9]*[smhdwy])$"
	}
	return map[string]any{"type": "string", "pattern": pattern}
}
