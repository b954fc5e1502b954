package database_test

import (
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/database"
)

func TestNamesAreTakenByPostgreSQLAndNeverShared(t *testing.T) {
	long := strings.Repeat("a", 40)
	pairs := [][2]string{
		{"pg", "orders"},
		{"shop", "orders"},
		{"shop", "order-lines"},
		{"shop", "order_lines"},
		{"shop-order", "lines"},
		{"a", "b-c"},
		{"a-b", "c"},
		{long, long},
		{long, long[:39] + "b"},
		{long[:39] + "b", long},
	}
	seen := map[string][2]string{}
	for _, p := range pairs {
		name := database.Name(p[0], p[1])
		if len(name) > 63 || strings.HasPrefix(name, "pg_") || strings.ContainsAny(name, "-\"'; ") {
			t.Errorf("%v: %q is refused by PostgreSQL", p, name)
		}
		if other, taken := seen[name]; taken {
			t.Errorf("%v and %v share %q", p, other, name)
		}
		seen[name] = p
		if again := database.Name(p[0], p[1]); again != name {
			t.Errorf("%v: %q, then %q", p, name, again)
		}
	}
}
