package checkup

import (
	"testing"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
)

// A profile without addresses gives nothing to look at, and that is no fault.
func TestNothingToLookAt(t *testing.T) {
	results := Run(t.Context(), Subject{Server: new(settings.Server)})
	if len(results) != 12 {
		t.Errorf("%d results", len(results))
	}
	for _, r := range results {
		if r.Check != "open files" && r.State != Skip || r.Text == "" {
			t.Errorf("%+v", r)
		}
	}
}

// One fault is one failure: what rests on it is skipped.
func TestNobodyThere(t *testing.T) {
	const nobody = "127.0.0.1:1"
	s := Subject{
		Server: &settings.Server{HTTP: nobody, CoAPSTCP: nobody},
		API:    apiclient.New(apiclient.Config{Base: "http://" + nobody}),
	}
	defer s.API.Close()
	got := map[string]State{}
	for _, r := range Run(t.Context(), s) {
		got[r.Check] = r.State
		if r.State == Fail && r.Fix == "" {
			t.Errorf("%s: no word about what to do", r.Check)
		}
	}
	for name, want := range map[string]State{"http": Fail, "clock": Skip, "store": Skip, "devices": Skip, "tls": Fail, "alpn": Skip, "plain port": Skip} {
		if got[name] != want {
			t.Errorf("%s is %s, want %s", name, got[name], want)
		}
	}
}

func TestPresence(t *testing.T) {
	device := func(state string) apiclient.Device { return apiclient.Device{State: state} }
	for _, tt := range []struct {
		list []apiclient.Device
		want Result
	}{
		{nil, Result{State: Skip, Text: "none yet"}},
		{[]apiclient.Device{device("reachable"), device("offline"), device("reachable")}, Result{State: OK, Text: "2 reachable, 1 offline"}},
		{[]apiclient.Device{device("unknown")}, Result{State: Warn, Text: "0 reachable, 1 unknown", Fix: "farreach devices shows since when"}},
	} {
		if got := presence(tt.list); got != tt.want {
			t.Errorf("%+v, want %+v", got, tt.want)
		}
	}
}
