package metrics

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/cloudlink"
)

// TestDashboard: the dashboard asks for nothing that is not told, and shows
// every family of figures that is ours.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../../deploy/grafana/farreach.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Title  string
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil || board.Title == "" || len(board.Panels) < 8 {
		t.Fatalf("dashboard %q of %d panels, %v", board.Title, len(board.Panels), err)
	}
	m := New("test")
	m.Watch(Sources{
		Link:   func() cloudlink.Stats { return cloudlink.Stats{} },
		Census: func(context.Context) (cloud.Census, error) { return cloud.Census{}, nil },
		Ready:  func(context.Context) error { return nil },
		Ends:   time.Now,
		XMPP:   func() XMPPStats { return XMPPStats{} },

		Webhooks: func() WebhookStats { return WebhookStats{} },
	})
	use(t, m, nil)
	told := scrape(t, m)
	name := regexp.MustCompile(`\b(?:farreach|go|process)_[a-z_]+\b`)
	asked := ""
	for _, p := range board.Panels {
		if len(p.Targets) == 0 {
			t.Errorf("panel %s asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			for _, n := range name.FindAllString(target.Expr, -1) {
				asked += n + "\n"
				if !strings.Contains(told, "\n"+n+" ") && !strings.Contains(told, "\n"+n+"{") {
					t.Errorf("panel %s asks for %s, which is not told", p.Title, n)
				}
			}
		}
	}
	for _, family := range []string{"events", "logins", "command", "store", "devices", "connections", "xmpp", "certificate", "webhook"} {
		if !strings.Contains(asked, "farreach_"+family) {
			t.Errorf("no panel about farreach_%s", family)
		}
	}
}
