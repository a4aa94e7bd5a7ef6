package oic_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/farreach/farreach/oic"
)

func TestToJSON(t *testing.T) {
	for _, c := range []struct{ name, hex, want string }{
		{"members in order", "a2 61 62 01 61 61 f5", `{"b":1,"a":true}`},
		{"indefinite", "bf 61 61 9f 01 20 ff ff", `{"a":[1,-1]}`},
		{"float with integral value", "fb 4045000000000000", "42.0"},
		{"half, single, double", "83 f9 3e00 fa 3f000000 fb 3ff3ae147ae147ae", "[1.5,0.5,1.23]"},
		{"small halves", "83 f9 0001 f9 03ff f9 8000", "[5.960464477539063e-08,0.00006097555160522461,-0.0]"},
		{"large float", "fb 44b52d02c7e14af6", "1e+23"},
		{"not a number", "84 f9 7e00 f9 7c00 f9 fc00 fb 7ff8000000000000", "[null,null,null,null]"},
		{"null, undefined", "82 f6 f7", "[null,null]"},
		{"least and greatest integer", "82 3b ffffffffffffffff 1b ffffffffffffffff", "[-18446744073709551616,18446744073709551615]"},
		{"bytes", "43 fbff01", `"-_8B"`},
		{"di of OIC 1.0", "a1 62 6469 50 0685b960736f46f7bec09e6cbd61adc1", `{"di":"0685b960-736f-46f7-bec0-9e6cbd61adc1"}`},
		{"di of another length", "a1 62 6469 42 0685", `{"di":"BoU"}`},
		{"tags", "c1 82 d81b 01 c0 61 61", `[1,"a"]`},
		{"escapes", "68 22 5c 0a 09 01 7f c3a9", `"\"\\\n\t\u0001` + "\x7f" + `é"`},
		{"chunked", "a1 7f 61 61 61 62 ff 5f 41 01 41 02 ff", `{"ab":"AQI"}`},
		{"empty containers", "82 80 a0", "[[],{}]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := oic.ToJSON(oic.OCF, unhex(t, c.hex))
			if err != nil || string(got) != c.want {
				t.Errorf("ToJSON = %s, %v; want %s", got, err, c.want)
			}
			if !json.Valid(got) {
				t.Errorf("%s is not JSON", got)
			}
		})
	}
}

func TestFromJSON(t *testing.T) {
	for _, c := range []struct{ name, json, want string }{
		{"members in order", ` { "b" : 1 , "a" : true } `, "a2 61 62 01 61 61 f5"},
		{"integers", "[0,-1,-0,23,24,256,65536,4294967296]", "88 00 20 00 17 1818 190100 1a00010000 1b0000000100000000"},
		{"floats", "[42.0,4.2e1]", "82 fb4045000000000000 fb4045000000000000"},
		{"least integer", "-18446744073709551616", "3b ffffffffffffffff"},
		{"beyond the integers", "18446744073709551616", "fb 43f0000000000000"},
		{"escapes", `"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"`, "6e 225c2f080c0a0d09c3a9f09f9880"},
		{"half of a pair", `"\ud83d\u0041\ud83dA\ude00"`, "6b efbfbd41efbfbd41efbfbd"},
		{"others", `[null,false,"é",{},[]]`, "85 f6 f4 62 c3a9 a0 80"},
		{"more than 23 elements", "[" + strings.Repeat("1,", 23) + "1]", "9818" + strings.Repeat("01", 24)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := oic.FromJSON(oic.OCF, []byte(c.json))
			if want := unhex(t, c.want); err != nil || !bytes.Equal(got, want) {
				t.Errorf("FromJSON = %x, %v; want %x", got, err, want)
			}
		})
	}
}

func TestFromJSONRefuses(t *testing.T) {
	for _, c := range []struct{ name, json, diag string }{
		{"cut", `{"a":`, "ends too early"},
		{"blank", ` `, "ends too early"},
		{"bytes behind the end", `1 2`, "behind the end"},
		{"closed twice", `[1]]`, "behind the end"},
		{"double key", `{"a":1,"\u0061":2}`, "twice"},
		{"not UTF-8", "\"\xff\"", "UTF-8"},
		{"syntax", `{a:1}`, "in the place of a key"},
		{"depth 33", strings.Repeat("[", 33) + strings.Repeat("]", 33), "nested deeper"},
		{"depth 100,000", strings.Repeat("[", 100_000), "nested deeper"},
		{"items", "[" + strings.Repeat("1,", 16_384) + "1]", "more than 16384 items"},
		{"text", `"` + strings.Repeat("a", 65_537) + `"`, "text over 65536"},
		{"number", "1e999", "does not fit"},
		{"key that is no text", `{1:2}`, "in the place of a key"},
		{"trailing comma", `[1,]`, "in the place of a value"},
		{"trailing comma in an object", `{"a":1,}`, "in the place of a key"},
		{"no comma", `[1 2]`, "in the place of a comma"},
		{"closed by the other bracket", `[1}`, "in the place of a comma"},
		{"leading zero", `[01]`, "in the place of a comma"},
		{"leading plus", `+1`, "in the place of a value"},
		{"minus alone", `-`, "ends too early"},
		{"point without digits", `1.`, "ends too early"},
		{"exponent without digits", `1ex`, "in the place of a digit"},
		{"line feed in a text", "\"\n\"", "in the place of a character"},
		{"text without end", `"a`, "ends too early"},
		{"unknown escape", `"\x"`, "in the place of an escape"},
		{"escape without end", `"\`, "ends too early"},
		{"half an escape", `"\u12`, "ends too early"},
		{"escape of other digits", `"\u12g4"`, "four hexadecimal digits"},
		{"word", `nul`, "in the place of a value"},
		{"words", `truefalse`, "behind the end"},
		{"byte order mark", "\ufeff1", "in the place of a value"},
		{"missing value", `{"a"}`, "in the place of a colon"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := oic.FromJSON(oic.OCF, []byte(c.json))
			if status(err) != oic.BadRequest || !strings.Contains(err.Error(), c.diag) {
				t.Errorf("FromJSON = %x, %v; want 4.00 with %q", got, err, c.diag)
			}
			if _, err := oic.ToJSON(oic.JSON, []byte(c.json)); status(err) != oic.BadRequest {
				t.Errorf("ToJSON let it pass: %v", err)
			}
		})
	}
}

func TestConvertNothing(t *testing.T) {
	if b, err := oic.ToJSON(oic.OCF, nil); b != nil || err != nil {
		t.Errorf("ToJSON of nothing = %q, %v", b, err)
	}
	if b, err := oic.FromJSON(oic.OCF, nil); b != nil || err != nil {
		t.Errorf("FromJSON of nothing = %q, %v", b, err)
	}
	for _, f := range []oic.ContentFormat{oic.NoFormat, oic.Text} {
		if _, err := oic.ToJSON(f, []byte("x")); status(err) != oic.BadFormat {
			t.Errorf("ToJSON of %v: %v", f, err)
		}
		if _, err := oic.FromJSON(f, []byte("1")); status(err) != oic.BadFormat {
			t.Errorf("FromJSON to %v: %v", f, err)
		}
	}
}

// FuzzFromJSON: we and encoding/json agree on what is JSON, and on its meaning.
func FuzzFromJSON(f *testing.F) {
	for _, text := range []string{`{"a":[1,2.5,-0,"\u00e9",null],"b":{}}`, `[1,]`, `"\ud83d\ude00\ud83d"`, `[1e3,-1.5E-7,18446744073709551616]`, ` { "x" : true } `, "01", `{"a":1,"a":2}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		limit := uint64(16*len(text) + 64<<10)
		var b []byte
		var err error
		if used := allocated(func() { b, err = oic.FromJSON(oic.OCF, []byte(text)) }); used > limit {
			t.Fatalf("%d bytes cost %d, over %d", len(text), used, limit)
		}
		valid := json.Valid([]byte(text)) && utf8.ValidString(text)
		if err != nil {
			for _, ours := range []string{"twice", "deeper", "more than", "over", "does not fit"} {
				valid = valid && !strings.Contains(err.Error(), ours)
			}
			if valid {
				t.Fatalf("%q refused: %v", text, err)
			}
			return
		}
		if text == "" {
			return
		}
		if !valid {
			t.Fatalf("%q taken as %x", text, b)
		}
		back, err := oic.ToJSON(oic.OCF, b)
		if err != nil {
			t.Fatal(err)
		}
		var got, want any
		if err := errors.Join(json.Unmarshal(back, &got), json.Unmarshal([]byte(text), &want)); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q became %q (%v)", text, back, err)
		}
	})
}

// FuzzJSON: what CBOR becomes is JSON, which comes back as CBOR that becomes the
// same, and neither way takes more memory than the input justifies.
func FuzzJSON(f *testing.F) {
	for _, hex := range []string{"a2 61 62 01 61 61 f5", "83 f9 3e00 fa 3f000000 fb 3ff3ae147ae147ae", "a1 7f 61 61 61 62 ff 5f 41 01 41 02 ff",
		"82 3b ffffffffffffffff 1b ffffffffffffffff", "a1 62 6469 50 0685b960736f46f7bec09e6cbd61adc1", "c1 82 d81b 01 c0 61 61", "68 22 5c 0a 09 01 7f c3a9"} {
		f.Add(unhex(f, hex))
	}
	f.Add([]byte(`{"a":[1,2.5,-0,"\u00e9",null],"b":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		limit := uint64(16*len(b) + 64<<10)
		if used := allocated(func() { _, _ = oic.FromJSON(oic.OCF, b) }); used > limit {
			t.Fatalf("from JSON: %d bytes cost %d, over %d", len(b), used, limit)
		}
		var text []byte
		var err error
		if used := allocated(func() { text, err = oic.ToJSON(oic.OCF, b) }); used > limit {
			t.Fatalf("to JSON: %d bytes cost %d, over %d", len(b), used, limit)
		}
		if err != nil || len(b) == 0 {
			return
		}
		if !json.Valid(text) {
			t.Fatalf("%x became %q", b, text)
		}
		back, err := oic.FromJSON(oic.OCF, text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if again, err := oic.ToJSON(oic.OCF, back); err != nil || !bytes.Equal(again, text) {
			t.Fatalf("%q came back as %q (%v)", text, again, err)
		}
	})
}
