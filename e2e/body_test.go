package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What is nearly 1 MiB long goes from a command through the cloud to a device
// and back, whichever way the command comes in.
func TestLongBodyCommands(t *testing.T) {
	computes(t)
	h := startHome(t)
	di := joinAttic(t, h)
	var texts []string
	for range 16 { // each as long as one text may be
		texts = append(texts, string(pattern(64_000)))
	}
	body, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "long.json")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{
		"attic/a/blob", // by TLS
		"coap+tcp://" + h.CoAP + "/" + di + "/a/blob",
		"coaps+tcp://" + h.CoAPS + "/" + di + "/a/blob",
		"coap+ws://" + h.HTTP + "/" + di + "/a/blob",
	} {
		scheme, _, _ := strings.Cut(target, ":")
		t.Run(scheme, func(t *testing.T) {
			commandIn(t, 0, "put", target, "[]", "--profile", h.profile)
			commandIn(t, 0, "put", target, "@"+file, "--profile", h.profile)
			var got []string
			if err := json.Unmarshal([]byte(commandIn(t, 0, "get", target, "--profile", h.profile)), &got); err != nil || !slices.Equal(got, texts) {
				t.Errorf("%d bytes were put, %d texts came back: %v", len(body), len(got), err)
			}
		})
	}
}
