package coap_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails the package if a test leaves a goroutine behind. In a process
// that a benchmark started it is the server.
func TestMain(m *testing.M) {
	if kind := os.Getenv(childEnv); kind != "" {
		benchChild(kind)
		return
	}
	goleak.VerifyTestMain(m)
}
