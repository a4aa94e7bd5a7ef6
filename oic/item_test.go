package oic_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/farreach/farreach/oic"
)

// TestItem: a member is found wherever it stands, and is what it is in JSON.
func TestItem(t *testing.T) {
	for _, c := range []struct{ name, hex, want string }{
		{"definite", "a2 61 61 01 61 74 15", "int64 21"},
		{"indefinite", "bf 61 61 01 61 74 15 ff", "int64 21"},
		{"key in chunks", "bf 7f 61 74 ff f5 ff", "bool true"},
		{"behind an array", "a2 61 61 82 61 74 a1 61 74 f4 61 74 f5", "bool true"},
		{"behind what has no length", "a2 61 61 9f 7f 61 61 ff bf 61 74 f4 ff ff 61 74 f5", "bool true"},
		{"negative", "a1 61 74 26", "int64 -7"},
		{"the smallest", "a1 61 74 3b 7fffffffffffffff", "int64 -9223372036854775808"},
		{"half", "a1 61 74 f9 3e00", "float64 1.5"},
		{"single", "a1 61 74 fa 3fc00000", "float64 1.5"},
		{"tags", "c1 a1 61 74 c1 18 2a", "int64 42"},
		{"text", "a1 61 74 62 c3a9", "string é"},
		{"text in chunks", "a1 61 74 7f 61 61 61 62 ff", "string ab"},
		{"bytes", "a1 61 74 42 0102", "[]uint8 [1 2]"},
		{"no bytes", "a1 61 74 40", "[]uint8 []"},
		{"null", "a1 61 74 f6", "<nil> <nil>"},
		{"undefined", "a1 61 74 f7", "<nil> <nil>"},
		{"array", "a1 61 74 82 01 a0", "[]interface {} [1 map[]]"},
		{"object", "a1 61 74 a1 61 61 f5", "map[string]interface {} map[a:true]"},
		{"another", "a1 61 61 01", "none"},
		{"no object", "81 61 74", "none"},
		{"too large", "a1 61 74 1b 8000000000000000", "float64 9.223372036854776e+18"},
		{"too small", "a1 61 74 3b 8000000000000000", "float64 -9.223372036854776e+18"},
	} {
		t.Run(c.name, func(t *testing.T) {
			i, err := oic.ParseItem(oic.OCF, unhex(t, c.hex))
			if err != nil {
				t.Fatal(err)
			}
			got := "none"
			if m, ok := i.Member("t"); ok {
				got = fmt.Sprintf("%T %v", m.Value(), m.Value())
			}
			if got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
	if i, err := oic.ParseItem(oic.JSON, []byte(`{"t":[1.5]}`)); err != nil || !i.IsObject() {
		t.Errorf("JSON: %v", err)
	}
	if _, err := oic.ParseItem(oic.Text, []byte("t")); status(err) != oic.BadFormat {
		t.Errorf("text: %v", err)
	}
	if v := new(oic.Item).Value(); v != nil {
		t.Errorf("the zero Item is %v", v)
	}
}

// FuzzItem: what is decoded where it stands is what Decode makes of the whole.
func FuzzItem(f *testing.F) {
	for _, v := range []string{
		"\xa1\x65value\xf5", "\xbf\x61t\xf9\x3e\x00\x61s\x7f\x62ab\x61c\xff\xff", "\xa2\x61a\x81\x01\x61t\xc1\x1a\x00\x01\x00\x00",
		"\xa1\x61t\x3b\x7f\xff\xff\xff\xff\xff\xff\xff", "\x9f\x5f\x41\x01\xff\xf6\xf7\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00\xff", "\x9f\x5f\xff\xff", "\xa1\x61t\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		f.Add([]byte(v))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var want any
		refusal := oic.Decode(oic.OCF, b, &want)
		i, err := oic.ParseItem(oic.OCF, b)
		if err == nil && refusal != nil && strings.Contains(refusal.Error(), "an integer") {
			i.Value()
			return // which is a float here
		}
		if status(err) != status(refusal) {
			t.Fatalf("%x: %v, Decode says %v", b, err, refusal)
		}
		if err != nil {
			return
		}
		if got := i.Value(); !same(got, want) {
			t.Fatalf("%x: %#v, Decode makes %#v", b, got, want)
		}
		object, ok := want.(map[string]any)
		if ok != i.IsObject() {
			t.Errorf("%x: an object: %v", b, i.IsObject())
		}
		for name, want := range object {
			m, ok := i.Member(name)
			if got := m.Value(); !ok || !same(got, want) {
				t.Errorf("%x: %q is %#v, %v; want %#v", b, name, got, ok, want)
			}
		}
		if _, ok := object["no"]; !ok {
			if _, ok := i.Member("no"); ok {
				t.Errorf("%x: a member that is not there", b)
			}
		}
	})
}

// same is equality, of NaN too.
func same(a, b any) bool {
	return reflect.DeepEqual(a, b) || fmt.Sprintf("%#v", a) == fmt.Sprintf("%#v", b)
}

func BenchmarkItem(b *testing.B) {
	for name, hex := range map[string]string{
		"power":    "a1 65 706f776572 1a 000f4240",
		"lamp":     "bf 65 76616c7565 f5 67 64696d6d696e67 1832 65 706f776572 18 ff ff",
		"baseline": "bf 62 7274 9f 6c 6f69632e722e6b6974636865 ff 62 6966 9f 68 6f69632e69662e61 6f 6f69632e69662e626173656c696e65 ff 65 706f776572 18 ff ff",
	} {
		body := unhex(b, hex)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				i, err := oic.ParseItem(oic.OCF, body)
				m, ok := i.Member("power")
				if v := m.Value(); err != nil || !ok || v == nil {
					b.Fatal(err, ok, v)
				}
			}
		})
	}
}
