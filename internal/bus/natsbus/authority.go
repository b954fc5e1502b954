package natsbus

import (
	"crypto/subtle"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// authority decides who gets in, and into which account. It is safe for concurrent use.
type authority struct {
	mu    sync.Mutex
	users map[string]user // guarded by mu: by name
}

type user struct {
	password string
	account  *server.Account
}

func (a *authority) add(name string, u user) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.users[name] = u
}

func (a *authority) remove(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.users, name)
}

// Check implements server.Authentication.
func (a *authority) Check(c server.ClientAuthentication) bool {
	opts := c.GetOpts()
	a.mu.Lock()
	u, known := a.users[opts.Username]
	a.mu.Unlock()
	if !known || subtle.ConstantTimeCompare([]byte(u.password), []byte(opts.Password)) == 0 {
		return false
	}
	c.RegisterUser(&server.User{Username: opts.Username, Account: u.account})
	return true
}
