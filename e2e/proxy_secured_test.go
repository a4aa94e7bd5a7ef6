package e2e_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// proxyID is who the proxy is to the devices of the household.
const proxyID = "9a0c0000-5d5f-4a8b-9d3a-0c1b2d3e4f50"

// TestProxySecured: a device that belongs to the household by a shared key, and
// libcoap's server with a certificate, are reached by who has the credentials; one
// that does not prove who it is is not shown (section 6.7 of the wire profile).
func TestProxySecured(t *testing.T) {
	t.Parallel()
	phone := xmppAccountOf(t, "xmppd")
	secret := filepath.Join(t.TempDir(), "owner.key")
	write(t, secret, "0x"+hex.EncodeToString([]byte(sharedKey)))
	owned := func(name string) (at, di string) {
		d := startProc(t, exec.Command("farreach", "device", "--type", "lamp", "--name", name, "--lan", "--psk-file", secret, "--psk-identity", "uuid:"+proxyID), "HOME="+t.TempDir())
		d.says(t, " at coaps://HOST:")
		at = lanAddress(t, d)
		var about struct {
			ID string `json:"di"`
		}
		if err := json.Unmarshal([]byte(phone.does(0, "get", "coap://"+at+"/oic/d")), &about); err != nil {
			t.Fatal(err)
		}
		return at, about.ID
	}
	vault, vaultID := owned("vault")
	attic, atticID := owned("attic")
	hall, _ := owned("hall")

	trust := t.TempDir()
	credential := func(di, text string) { write(t, filepath.Join(trust, di+".json"), text) }
	credential(vaultID, fmt.Sprintf(`{"id": %q, "psk": "%x"}`, proxyID, sharedKey))
	credential(atticID, fmt.Sprintf(`{"id": %q, "psk": "%x"}`, proxyID, "fedcba9876543210")) // another
	clock, dtls := newIdentityOf(t, "uuid:"+clockID), wires[1]
	for name, from := range map[string]string{"proxy.pem": clock.certFile, "proxy.key": clock.keyFile} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(trust, name), string(text))
	}
	credential(clockID, `{"certificate": "proxy.pem", "key": "proxy.key", "roots": "proxy.pem"}`)
	described := describedClock(t, "coaps://"+dtls.theirServer(t, clock))

	proxy := phone.begin("proxy", "--device", vault, "--device", attic, "--device", hall, "--describe", described, "--credentials", trust,
		"--allow", "all", "--state", filepath.Join(t.TempDir(), "proxy.json"))
	for _, name := range []string{"vault", "hall", "clock"} {
		proxy.says(t, " "+name+": on XMPP")
	}
	phone.sees("clock", "reachable")
	phone.does(0, "post", "vault/a/light", "value=true")
	phone.prints(`{"value":true,"dimming":100}`, "get", "vault/a/light")
	watch := phone.begin("observe", "vault/a/light")
	watch.says(t, `"value":true`)
	phone.does(0, "set", "vault/a/light", "value=false")
	watch.says(t, `"value":false`)
	phone.does(0, "put", "clock/example_data", `{"note":"sealed"}`)
	phone.prints(`{"note":"sealed"}`, "get", "clock/example_data")
	phone.refused(5, "coaps://", "get", "hall/a/light") // to whom the proxy has no key
	phone.refused(4, atticID, "get", "ocf://"+atticID+"/a/light")
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
