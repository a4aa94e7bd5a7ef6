package e2e_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUpgrade: servers open what older ones stored, with all that was in it. An
// archive in testdata/old has the directory store of the server that was built
// on the day of its name: one device, one rule that fired, one token, one webhook,
// one other account. It was made with the retention of this test, so that its
// events do not age away. A new format of anything that is stored gets an archive.
func TestUpgrade(t *testing.T) {
	const readToken = "fut_J2vs2wwbAzeUjhIn8BXPZFsY6BcQVs35" // good for that store alone
	archives, err := filepath.Glob("testdata/old/*.tar.gz")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".tar.gz"), func(t *testing.T) {
			t.Parallel()
			c := newChild(t, "--retention-age", "36500d")
			unpack(t, name, filepath.Join(c.home, "data"))
			c.start()
			token := filepath.Join(c.home, "read.token")
			if err := os.WriteFile(token, []byte(readToken), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, test := range []struct{ command, want string }{
				{"devices", "attic\t4c86f397-0b34-471d-9780-a2d340f75370\toic.d.light\tunknown"},
				{"devices --token-file " + token, "attic\t"},
				{"token ls", "ro\tv4xczjpgzhlellxunlsqm7g5vq\tread\tnever"},
				{"rule ls", "night\tenabled\t1\tattic/a/light event.value\tmessage light {{event.dimming}}"},
				{"rule runs night", "night\tfired\tattic/a/light, event 3\tmessage light 33"},
				{"events --device attic", "attic\t/a/light\t{\"value\":true,\"dimming\":33}"},
				{"commands ls", "attic\tpost /a/light {\"value\":true,\"dimming\":33}\thome, token farreach on this machine\tdone\t2.04"},
				{"why attic/a/light", "post /a/light {\"value\":true,\"dimming\":33}"},
				{"webhook ls", "pager\thttps://example.org/x"},
				{"account ls", "bob\tuser"},
			} {
				out, err := c.farreach(strings.Fields(test.command)...)
				if err != nil || !strings.Contains(string(out), test.want) {
					t.Errorf("%s: %v\n%s  is to have %q", test.command, err, out, test.want)
				}
			}
			login, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+c.HTTP+"/api/v1/session",
				strings.NewReader(`{"account":"bob","password":"correct-horse"}`))
			if err != nil {
				t.Fatal(err)
			}
			login.Header.Set("Content-Type", "application/json")
			resp, err := c.client.Do(login)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("bob's password: %s", resp.Status)
			}
		})
	}
}

// unpack makes the files of a .tar.gz below dir.
func unpack(t *testing.T, name, dir string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(head.Name))
		if head.Typeflag == tar.TypeDir {
			err = os.Mkdir(path, 0o700)
		} else {
			var data []byte
			if data, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, data, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
