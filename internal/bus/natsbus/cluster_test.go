package natsbus_test

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/bustest"
	"github.com/atollhq/atoll/internal/bus/natsbus"
)

// TestClusterLog runs the suite upon three servers, each of which keeps a copy: what one of them reads may be behind what they have
// acknowledged.
func TestClusterLog(t *testing.T) {
	addresses := startCluster(t)
	var apps atomic.Int64
	bustest.Run(t, func(t *testing.T) bustest.Open {
		t.Helper()
		app := fmt.Sprintf("shop-%d", apps.Add(1))
		return func(t *testing.T) bus.Log {
			t.Helper()
			nc, err := natsbus.Dial(addresses, "atoll:secret")
			if err != nil {
				t.Fatal(err)
			}
			l, err := natsbus.Open(t.Context(), nc, app, &natsbus.Options{Replicas: 3})
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
	})
	for _, bad := range []string{"", "atoll:wrong", "token"} {
		if nc, err := natsbus.Dial(addresses, bad); err == nil {
			nc.Close()
			t.Errorf("%q opens the cluster", bad)
		}
	}
}

// startCluster starts three servers and returns their addresses.
func startCluster(t *testing.T) string {
	t.Helper()
	var routes []*url.URL
	ports := make([]int, 3)
	for i := range ports {
		ports[i] = freePort(t)
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", ports[i])})
	}
	var addresses string
	servers := make([]*server.Server, len(ports))
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
			Users:   []*server.User{{Username: "atoll", Password: "secret"}},
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port}, Routes: routes,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		servers[i] = s
	}
	limit := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, s := range servers {
		if !s.ReadyForConnections(10 * time.Second) {
			t.Fatal("a server does not become ready")
		}
		addresses += "," + s.ClientURL()
	}
	for !slices.ContainsFunc(servers, func(s *server.Server) bool {
		return s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(ports)
	}) {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("the servers do not become a cluster")
		}
	}
	return addresses[1:]
}

func freePort(t *testing.T) int {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}
