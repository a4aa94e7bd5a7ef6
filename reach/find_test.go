package reach

import (
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	all := []known{
		{ID: "0685b960-0000-4000-8000-000000000001", Name: "lamp"},
		{ID: "0685b961-0000-4000-8000-000000000002", Name: "Door"},
		{ID: "aaaaaaaa-0000-4000-8000-000000000003", Name: "lamp 2"},
		{ID: "bbbbbbbb-0000-4000-8000-000000000004", Name: "twin"},
		{ID: "cccccccc-0000-4000-8000-000000000005", Name: "twin"},
		{ID: "dddddddd-0000-4000-8000-000000000006", Name: "aaaaaaaa"},
	}
	for _, test := range []struct {
		name, want string
		kind       Kind
		hint       string
	}{
		{name: "lamp", want: all[0].ID},
		{name: "door", want: all[1].ID},
		{name: "0685b960", want: all[0].ID},
		{name: "0685B961", want: all[1].ID},
		{name: all[2].ID, want: all[2].ID},
		{name: "aaaaaaaa", want: all[5].ID}, // a name goes before the beginning of a di
		{name: "0685", kind: Ambiguous, hint: "0685b960-0000-4000-8000-000000000001 (lamp), 0685b961"},
		{name: "twin", kind: Ambiguous, hint: "bbbbbbbb"},
		{name: "lmap", kind: NotFound, hint: "did you mean lamp?"},
		{name: "Dor", kind: NotFound, hint: "did you mean Door?"},
		{name: "refrigerator", kind: NotFound, hint: "there are 0685b960"},
		{name: "", kind: Ambiguous},
	} {
		got, err := find(all, test.name)
		if got.ID != test.want || err != nil && KindOf(err) != test.kind || err == nil && test.want == "" {
			t.Errorf("%q is %q, %v (kind %d); want %q, kind %d", test.name, got.ID, err, KindOf(err), test.want, test.kind)
		}
		if !strings.Contains(HintOf(err), test.hint) {
			t.Errorf("%q: hint %q, want %q in it", test.name, HintOf(err), test.hint)
		}
	}
	if _, err := find(nil, "lamp"); KindOf(err) != NotFound || !strings.Contains(HintOf(err), "no devices yet") {
		t.Errorf("an account without devices: %v, %s", err, HintOf(err))
	}
}

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"lamp", "lmap", 1}, {"lamp", "LAMP", 0}, {"door", "dor", 1}, {"kitten", "sitting", 3}} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("from %q to %q: %d, want %d", test.a, test.b, got, test.want)
		}
	}
}
