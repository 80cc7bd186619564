package config

import "encoding/json"

// Schema returns a JSON Schema (draft 2020-12) of the file, for editors and
// checks before a deployment. It ends with a newline.
func Schema() []byte {
	defaults := Default()
	root := object("Configuration of artifactstore. Every key is optional.")
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	sections := map[string]map[string]any{"": root}
	for _, k := range keys {
		path, leaf := split(k.Name)
		if sections[path] == nil {
			sections[path] = object("")
			properties(root)[path] = sections[path]
		}
		property := valueSchema(k.field(&defaults))
		property["description"] = k.Doc
		properties(sections[path])[leaf] = property
	}
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic(err) // maps of strings, booleans and such maps always encode
	}
	return append(text, '\n')
}

func object(description string) map[string]any {
	o := map[string]any{
		"type":                 []string{"object", "null"},
		"additionalProperties": false,
		"properties":           map[string]any{},
	}
	if description != "" {
		o["description"] = description
	}
	return o
}

func properties(o map[string]any) map[string]any { return o["properties"].(map[string]any) }

// valueSchema describes the type and default of a field.
func valueSchema(field any) map[string]any {
	switch v := field.(type) {
	case *string:
		return map[string]any{"type": "string", "default": *v}
	case *bool:
		return map[string]any{"type": "boolean", "default": *v}
	case *int:
		return map[string]any{"type": []string{"integer", "string"}, "minimum": 0, "pattern": "^[0-9]+$", "default": *v}
	case *DSN:
		return map[string]any{"type": "string", "default": v.String()}
	case *Redirect:
		return map[string]any{"type": "string", "pattern": "^(never|always|above [0-9]+(B|KiB|MiB|GiB|TiB)?)$", "default": text(v)}
	case *DatabaseDriver:
		return map[string]any{"enum": []DatabaseDriver{OnSQLite, OnPostgreSQL}, "default": *v}
	case *StorageDriver:
		return map[string]any{"enum": []StorageDriver{InFilesystem, InS3, InMemory}, "default": *v}
	case *Encryption:
		return map[string]any{"enum": []Encryption{Unasked, AES256, KMS}, "default": *v}
	case *Size:
		return map[string]any{"type": []string{"string", "integer"}, "minimum": 0,
			"pattern": "^[0-9]+(B|KiB|MiB|GiB|TiB)?$", "default": text(v)}
	case *Rate:
		return map[string]any{"type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB|TiB)?/s$", "default": text(v)}
	case *Duration:
		return map[string]any{"type": []string{"string", "integer"}, "minimum": 0, "maximum": 0,
			"pattern": `^(0|([0-9]*\.?[0-9]*(ns|us|µs|ms|s|m|h))+)$`, "default": text(v)}
	case *Term:
		return map[string]any{"type": "string", "pattern": "^([1-9][0-9]*[smhdwy])?$", "default": text(v)}
	case *Classes:
		return classesSchema()
	case *Policies:
		return policiesSchema()
	case *Format:
		return map[string]any{"enum": []Format{Text, JSON}, "default": *v}
	case *Level:
		return map[string]any{"enum": []Level{Debug, Info, Warn, Error}, "default": *v}
	}
	panic("config: no schema of a field") // a test makes the schema of every key
}
