package rae_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// schema is what the specification's schemas use of JSON Schema, draft 4. They
// stand in testdata/schema as Annex A has them, with its examples;
// oic.core.json has of the one that they refer to what OIC 1.0 says of types.
type schema struct {
	ID          string             `json:"id"`
	URI         string             `json:"$schema"`
	Title       string             `json:"title"`
	Description string             `json:"description"`
	Ref         string             `json:"$ref"`
	Definitions map[string]*schema `json:"definitions"`
	Type        any                `json:"type"`
	Properties  map[string]*schema `json:"properties"`
	Enum        []any              `json:"enum"`
	AllOf       []*schema          `json:"allOf"`
	Required    []string           `json:"required"`
}

func loadSchema(t *testing.T, name string) *schema {
	t.Helper()
	s := new(schema)
	dec := json.NewDecoder(bytes.NewReader(schemaFile(t, name)))
	dec.DisallowUnknownFields() // a word that is not understood would not be checked
	if err := dec.Decode(s); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s
}

func schemaFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "schema", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// validate says what is wrong with doc; nil: nothing.
func validate(t *testing.T, name string, doc []byte) error {
	t.Helper()
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		return err
	}
	root := loadSchema(t, name)
	return root.check(t, root, v)
}

func (s *schema) check(t *testing.T, root *schema, v any) error {
	if s.Ref != "" {
		file, def, _ := strings.Cut(s.Ref, "#/definitions/")
		if file != "" {
			root = loadSchema(t, filepath.Base(file))
		}
		return root.Definitions[def].check(t, root, v)
	}
	if s.Type != nil && !slices.ContainsFunc(names(s.Type), func(name any) bool { return isType(name.(string), v) }) {
		return fmt.Errorf("%v is not of type %v", v, s.Type)
	}
	if s.Enum != nil && !slices.Contains(s.Enum, v) {
		return fmt.Errorf("%v is none of %q", v, s.Enum)
	}
	members, _ := v.(map[string]any)
	for _, name := range s.Required {
		if _, ok := members[name]; !ok {
			return fmt.Errorf("%s is missing", name)
		}
	}
	for name, sub := range s.Properties {
		if member, ok := members[name]; ok {
			if err := sub.check(t, root, member); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	for _, sub := range s.AllOf {
		if err := sub.check(t, root, v); err != nil {
			return err
		}
	}
	return nil
}

func names(v any) []any {
	if list, ok := v.([]any); ok {
		return list
	}
	return []any{v}
}

func isType(name string, v any) bool {
	switch v := v.(type) {
	case string:
		return name == "string"
	case float64:
		return name == "number" || name == "integer" && v == math.Trunc(v)
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	}
	return false
}

// The checker of this file, by the examples of the specification and by what it
// must refuse.
func TestSchemaOfTheSpecification(t *testing.T) {
	for _, c := range []struct {
		schema, doc string
		why         string // "": it is valid
	}{
		{"xmpp.json", string(schemaFile(t, "xmpp-get-example.json")), ""},
		{"xmpp-update.json", string(schemaFile(t, "xmpp-post-example.json")), ""},
		{"xmpp-update.json", string(schemaFile(t, "xmpp-answer-example.json")), ""},
		{"user.json", string(schemaFile(t, "user-get-example.json")), ""},
		{"user.json", string(schemaFile(t, "user-post-example.json")), ""},
		{"user.json", string(schemaFile(t, "user-answer-example.json")), ""},
		{"user.json", `{"jid":"a@b","credential":""}`, ""},
		{"user.json", `{"jid":"a@b"}`, "credential is missing"},
		{"xmpp.json", `{"address":"a","port":1,"status":"Connected"}`, "ErrorReason is missing"},
		{"xmpp.json", `{"address":"a","port":1,"status":"Connecting","ErrorReason":""}`, "status: Connecting is none of"},
		{"xmpp.json", `{"address":1,"port":1,"status":"Connected","ErrorReason":""}`, "address: 1 is not of type string"},
		{"xmpp.json", `{"rt":["oic.ra.xmpp"],"address":"a","port":1,"status":"Connected","ErrorReason":""}`, "rt: [oic.ra.xmpp] is not of type string"},
		{"xmpp-update.json", `{"address":"a","port":1.5}`, ""},
		{"xmpp-update.json", `{"address":"a","port":1,"status":"Connected"}`, "status: Connected is none of"},
		{"xmpp.json", `[]`, "[] is not of type object"},
	} {
		err := validate(t, c.schema, []byte(c.doc))
		if err == nil && c.why == "" || err != nil && c.why != "" && strings.HasPrefix(err.Error(), c.why) {
			continue
		}
		t.Errorf("%s: %s: %v, want %q", c.schema, c.doc, err, c.why)
	}
}
