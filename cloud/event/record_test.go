package event

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// goldenRecord is what version 1 looks like, for ever.
const goldenRecord = "\x01\x18\x6c\x1f\x35\xc1\xb8\x80\x00\x90\x4e\xa1\x65value\xf5"

// goldenOwn is what version 2 looks like.
const goldenOwn = "\x02\x18\x6c\x1f\x35\xc1\xb8\x80\x00\x18\x6c\x1f\x35\x86\x1d\xb6\x00\x01\x90\x4e\xa1\x65value\xf5"

func TestRecordGolden(t *testing.T) {
	ev := Event{
		Seq: 7, Time: time.Unix(0, 0x186c1f35c1b88000).UTC(), Account: "home", Device: "di", Href: "/a",
		Format: oic.OCF, Body: []byte("\xa1\x65value\xf5"),
	}
	if got := appendRecord(nil, &ev); string(got) != goldenRecord {
		t.Errorf("record %x\n  want %x", got, goldenRecord)
	}
	own := ev
	own.DeviceTime, own.Late = ev.Time.Add(-time.Second), true
	if got := appendRecord(nil, &own); string(got) != goldenOwn {
		t.Errorf("record %x\n  want %x", got, goldenOwn)
	}
	for data, want := range map[string]Event{goldenRecord: ev, goldenOwn: own} {
		got, err := parseRecord(store.Record{Seq: 7, Key: []string{"home", "di", "/a"}, Data: []byte(data)})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("parsed %+v, %v\n  want %+v", got, err, want)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(goldenRecord))
	f.Add([]byte(goldenOwn))
	f.Add([]byte{2})
	f.Add([]byte("\x01\x18\x6c\x1f\x35\xc1\xb8\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ev, err := parseRecord(store.Record{Key: []string{"a", "b", "c"}, Data: b})
		if err != nil {
			return
		}
		again, err := parseRecord(store.Record{Key: []string{"a", "b", "c"}, Data: appendRecord(nil, &ev)})
		if err != nil || !again.Time.Equal(ev.Time) || !again.DeviceTime.Equal(ev.DeviceTime) || again.Late != ev.Late || again.Format != ev.Format || !bytes.Equal(again.Body, ev.Body) {
			t.Errorf("%x: %+v came back as %+v, %v", b, ev, again, err)
		}
	})
}
