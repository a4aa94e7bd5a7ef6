package oic_test

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"

	"github.com/farreach/farreach/oic"
)

func TestProperty(t *testing.T) {
	for _, c := range []struct {
		body string
		name string
		want oic.Scalar
		text string
	}{
		{`{"value":true}`, "value", oic.Scalar{Kind: oic.Bool, Number: 1}, ""},
		{`{"value":false}`, "value", oic.Scalar{Kind: oic.Bool}, ""},
		{`{"a":[1,{"t":9}],"o":{"t":8},"t":-7}`, "t", oic.Scalar{Kind: oic.Number, Number: -7}, ""},
		{`{"t":21.5}`, "t", oic.Scalar{Kind: oic.Number, Number: 21.5}, ""},
		{`{"t":18446744073709551615}`, "t", oic.Scalar{Kind: oic.Number, Number: math.MaxUint64}, ""},
		{`{"t":"warm"}`, "t", oic.Scalar{Kind: oic.String}, "warm"},
		{`{"t":""}`, "t", oic.Scalar{Kind: oic.String}, ""},
		{`{"t":null}`, "t", oic.Scalar{}, ""},
		{`{"t":[1]}`, "t", oic.Scalar{}, ""},
		{`{"t":{"t":1}}`, "t", oic.Scalar{}, ""},
		{`{"t":1}`, "T", oic.Scalar{}, ""},
		{`[{"t":1}]`, "t", oic.Scalar{}, ""},
		{`7`, "t", oic.Scalar{}, ""},
		{`{}`, "", oic.Scalar{}, ""},
	} {
		cbor, err := oic.FromJSON(oic.OCF, []byte(c.body))
		if err != nil {
			t.Fatal(err)
		}
		for f, body := range map[oic.ContentFormat][]byte{oic.OCF: cbor, oic.JSON: []byte(c.body)} {
			got := oic.Property(f, body, c.name)
			if got.Kind != c.want.Kind || got.Number != c.want.Number || string(got.Text) != c.text {
				t.Errorf("%s of %v: %+v %q, want %+v %q", c.name, f, got, got.Text, c.want, c.text)
			}
		}
	}
	for name, body := range map[string]string{
		"nothing": "", "short": "\xa2\x61t", "short text": "\xa1\x61t\x65ab", "no key": "\xa1\x01\x02", "text in chunks": "\xa1\x61t\x7f\x62ab\x61c\xff",
	} {
		got := oic.Property(oic.OCF, []byte(body), "t")
		if want := map[bool]string{true: "abc"}[name == "text in chunks"]; string(got.Text) != want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := oic.Property(oic.Text, []byte("t"), "t"); got.Kind != oic.Null {
		t.Errorf("of text: %+v", got)
	}
}

// FuzzProperty: a property is what the body says as JSON.
func FuzzProperty(f *testing.F) {
	for _, body := range []string{"\xa1\x65value\xf5", "\xbf\x61t\xf9\x3e\x00\xff", "\xa1\x61t\x7f\x62ab\x61c\xff", "\xa2\x61a\x81\x01\x61t\xc1\x1a\x00\x01\x00\x00", "\xa1\x61t\x3b\xff\xff\xff\xff\xff\xff\xff\xff", "\xa1\x61t\x3b\xff00000+\xff"} {
		f.Add([]byte(body), "t")
		f.Add([]byte(body), "value")
	}
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		got := oic.Property(oic.OCF, b, name)
		amongAll(t, b, name, got)
		text, err := oic.ToJSON(oic.OCF, b)
		var object map[string]any
		if err != nil || json.Unmarshal(text, &object) != nil {
			return // it may have been read up to there
		}
		switch want := object[name].(type) {
		case bool:
			if got.Kind != oic.Bool || want != (got.Number == 1) {
				t.Errorf("%x: %+v, want %v", b, got, want)
			}
		case float64:
			if got.Kind != oic.Number || got.Number != want {
				t.Errorf("%x: %+v, want %v", b, got, want)
			}
		case string:
			if got.Kind == oic.String && string(got.Text) != want || got.Kind == oic.Number || got.Kind == oic.Bool {
				t.Errorf("%x: %+v %q, want %q", b, got, got.Text, want)
			}
		default:
			if got.Kind == oic.Bool || got.Kind == oic.String || got.Kind == oic.Number && !math.IsNaN(got.Number) && !math.IsInf(got.Number, 0) {
				t.Errorf("%x: %+v, want %v", b, got, want)
			}
		}
	})
}

// amongAll: Properties has of a name what Property has.
func amongAll(t *testing.T, b []byte, name string, want oic.Scalar) {
	t.Helper()
	var got oic.Scalar
	oic.Properties(oic.OCF, b, func(n []byte, v oic.Scalar) bool {
		if string(n) == name {
			got = v
			got.Text = bytes.Clone(v.Text)
		}
		return string(n) != name
	})
	if got.Kind != want.Kind || math.Float64bits(got.Number) != math.Float64bits(want.Number) || string(got.Text) != string(want.Text) {
		t.Errorf("%x: among all properties %q is %+v, alone %+v", b, name, got, want)
	}
}
