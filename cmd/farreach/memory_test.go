package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/device"
)

// What a device remembers is there after a restart, for its owner only, and a
// code no longer than it is needed (Bad46).
func TestBad46Memory(t *testing.T) {
	state := cloudlink.FileState(filepath.Join(t.TempDir(), "devices", "porch.json"))
	m, err := remember(state)
	if err != nil || m.cloud().Server != "" {
		t.Fatalf("at first: %+v, %v", m, err)
	}
	to := device.Onboarding{Server: "coaps+tcp://cloud", Cloud: "c", Provider: "p", Code: "one-time", Others: []device.CloudServer{{URI: "coaps+tcp://b"}}}
	set := device.Settings{Name: "Veranda", Location: []float64{52.5, 13.4}}
	if err := m.keepCloud(to); err != nil {
		t.Fatal(err)
	}
	if err := m.keepSettings(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	again, err := remember(state)
	if err != nil || !reflect.DeepEqual(again.cloud(), to) || !reflect.DeepEqual(again.settings(), set) {
		t.Errorf("after a restart: %+v, %v", again.doc, err)
	}
	info, err := os.Stat(m.file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	to.Code = ""
	if err := again.keepCloud(to); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(m.file); strings.Contains(string(b), "one-time") || !strings.Contains(string(b), "Veranda") {
		t.Errorf("the file holds %s", b)
	}
	if err := again.keepCloud(device.Onboarding{}); err != nil || again.cloud().Server != "" {
		t.Errorf("left: %+v, %v", again.doc, err)
	}
	if err := os.Chmod(m.file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := remember(state); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others can read: %v", err)
	}
}
