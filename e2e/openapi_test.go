package e2e_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/oapi-codegen/runtime" // what the generated client imports
)

// A client that another hand's generator makes of the OpenAPI document, as the
// server tells it, finds the demo's lamp and switches it on.
func TestGeneratedClient(t *testing.T) {
	computes(t)
	h := startHome(t)
	dir := t.TempDir()
	document, client := filepath.Join(dir, "openapi.json"), filepath.Join(dir, "client.go")
	if err := os.WriteFile(document, ask(t, "GET", "http://"+h.HTTP+"/openapi.json", "", ""), 0o600); err != nil {
		t.Fatal(err)
	}
	goCommand(t, "tool", "oapi-codegen", "-generate", "types,client", "-package", "main", "-o", client, document)

	source, err := filepath.Abs("testdata/openapi")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{ // a package as the go command is to see it
		filepath.Join(source, "main.go"): filepath.Join(source, "main.go.txt"), filepath.Join(source, "client.go"): client,
	}})
	if err != nil {
		t.Fatal(err)
	}
	file, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "switch")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	goCommand(t, "build", "-overlay", file, "-o", program, "./testdata/openapi")

	var token struct{ Token string }
	made := ask(t, "POST", "http://"+h.HTTP+"/api/v1/tokens", h.Token, `{"name":"generated","scope":"command"}`)
	if err := json.Unmarshal(made, &token); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "lamp")
	cmd.Env = append(os.Environ(), "API=http://"+h.HTTP, "TOKEN="+token.Token)
	out, err := cmd.CombinedOutput()
	const want = "200 200 true\n403 true\n"
	if err != nil || string(out) != want {
		t.Errorf("%v: %s\nwant %s", err, out, want)
	}
}

// goCommand runs the go command where the tests are.
func goCommand(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// ask does a request of the API and returns the answer of success.
func ask(t *testing.T, method, url, token, body string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %d, %v: %s", method, url, resp.StatusCode, err, answer)
	}
	return answer
}
