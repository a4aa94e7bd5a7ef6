package rule

import (
	"fmt"
	"testing"

	"github.com/farreach/farreach/oic"
)

// expressions ask in all ways that there are for something of an object.
var expressions = []string{
	"event.power", "event.missing", "has(event.power)", "has(event.missing)", "event['power']", "event[1]", "event[event.key]",
	"event.deep.er", "event.deep.missing", "has(event.deep.er)", "has(event.deep.missing)", "has(event.power.er)", "event.deep", "event.power.er",
	"event.list[1]", "event.list[9]", "event.list.exists(x, x == 2)", "event.list", "event.list[2].a",
	"size(event)", "size(event.deep)", "'power' in event", "'missing' in event", "1 in event", "event.exists(k, k == 'power')", "event.all(k, k != '')",
	"event.map(k, k).size()", "event == {'power': 7}", "event.deep == {'er': 1.5}", "{'er': 1.5} == event.deep", "event == event", "type(event) == map", "type(event.power)",
	"event.power > 6", "event.power + 1", "event.power > event.deep.er", "event.text + 'x'", "event.yes ? 1 : 2", "event.none == null", "event.bytes == b'12'", "string(event)",
	"[event.deep][0].er", "{'a': event}.a.power", "event.big", "event.small",
}

// TestObject: an expression cannot tell whether a representation was decoded.
func TestObject(t *testing.T) {
	for _, body := range []string{
		`{"power":7,"key":"text","text":"é","yes":true,"none":null,"list":[1,2,{"a":[]}],"deep":{"er":1.5}}`,
		`{"power":7}`, `{}`, `{"power":{"er":{}},"list":{"1":2},"deep":{"er":1.5}}`, `[1,2]`, `7`, `"text"`, `null`,
	} {
		cbor, err := oic.FromJSON(oic.OCF, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range compiled(t) {
			alike(t, c, cbor)
		}
	}
}

func compiled(t testing.TB) (all []*Condition) {
	for _, text := range expressions {
		c, err := compile(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		all = append(all, c)
	}
	return all
}

// alike evaluates an expression about a representation, decoded and as it
// stands.
func alike(t *testing.T, c *Condition, body []byte) {
	var decoded, lazy input
	if oic.Decode(oic.OCF, body, &decoded.event) != nil {
		return
	}
	rep, err := oic.ParseItem(oic.OCF, body)
	if err != nil {
		t.Fatal(err)
	}
	lazy.represents(rep)
	want, err1 := c.value(&decoded)
	got, err2 := c.value(&lazy)
	if fmt.Sprint(want) != fmt.Sprint(got) || fmt.Sprint(err1) != fmt.Sprint(err2) {
		t.Errorf("%s of %x is %v, %v; want %v, %v", c.Text, body, got, err2, want, err1)
	}
}

// FuzzObject: that holds for every body.
func FuzzObject(f *testing.F) {
	for _, body := range []string{"\xa1\x65power\x07", "\xbf\x65power\xf9\x3e\x00\x64list\x9f\x01\xff\xff", "\xa1\x64deep\xc1\xa1\x62er\x7f\x62ab\x61c\xff", "\x80", "\xa1\x65bytes\x42\x31\x32"} {
		f.Add([]byte(body))
	}
	all := compiled(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, c := range all {
			alike(t, c, body)
		}
	})
}
