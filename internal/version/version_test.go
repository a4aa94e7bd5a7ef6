package version

import "testing"

func TestGet(t *testing.T) {
	if got := Get("v1.2.3").Version; got != "v1.2.3" {
		t.Errorf("linked version: %q", got)
	}
	got := Get("")
	if got.Version == "" || got.Go == "" || got.System == "" {
		t.Errorf("incomplete: %+v", got)
	}
}
