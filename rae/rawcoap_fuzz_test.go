package rae

import (
	"reflect"
	"testing"

	"github.com/farreach/farreach/coap"
)

// FuzzRawAnswer: whatever a message says as an answer, it says again when it is
// sent on as one.
func FuzzRawAnswer(f *testing.F) {
	f.Add([]byte("\x64\x45\x1f\x2a\x5d\x1f\x00\xa7\xc1\x3c\xff\xa1\x65state\xf5"))
	f.Add([]byte("\x50\x84\x00\x01\xffno such lamp"))
	f.Add([]byte("\x50\x45\x00\x01\x42\x01\x02\x21\x05\x61\x3c\x21\x0a\xff\xa0")) // ETag, Observe, Content-Format, Max-Age
	f.Fuzz(func(t *testing.T, b []byte) {
		var m coap.Message
		if _, err := m.Parse(coap.UDP, b, len(b)); err != nil || !m.Code.IsResponse() {
			return
		}
		a, err := parseRaw(&m)
		if err != nil {
			return
		}
		ask := coap.Message{Code: coap.GET}
		again := rawMessage(a, &ask)
		wire, err := again.Append(coap.UDP, nil)
		if err != nil {
			t.Fatalf("%v cannot be sent: %v", again, err)
		}
		var n coap.Message
		if _, err := n.Parse(coap.UDP, wire, len(wire)); err != nil {
			t.Fatal(err)
		}
		back, err := parseRaw(&n)
		if err != nil {
			t.Fatalf("%v became %v: %v", &m, &n, err)
		}
		if a.Observed != back.Observed || a.Sequence != back.Sequence || a.MaxAge != back.MaxAge && a.Response != nil && len(a.ETags) == len(back.ETags) ||
			(a.Refusal == nil) != (back.Refusal == nil) || !reflect.DeepEqual(a.ETags, back.ETags) {
			t.Fatalf("%+v became %+v", a, back)
		}
	})
}
