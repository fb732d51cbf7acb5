package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

const business chats.BusinessID = 7

const workers = 4

// playIncrement raises the Attempts of some chats, each by one at a time, whenever it
// has the lease, and prints each value that it has saved.
func playIncrement(d database) error {
	db, err := d.pool()
	if err != nil {
		return err
	}
	store, err := sqlstore.New(context.Background(), db, d.dialect)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	go control(os.Stdin)
	for {
		lease, err := store.Acquire(context.Background(), business, inbox.Purpose, fmt.Sprint("process ", os.Getpid()))
		if err != nil {
			if !errors.Is(err, inbox.ErrLeaseHeld) {
				fmt.Println("error", err)
			}
			time.Sleep(200 * time.Millisecond)
			continue
		}
		fmt.Println("acquired")
		work(store, lease)
		fmt.Println("lost")
	}
}

// statements is read-locked while a statement runs.
var statements sync.RWMutex

// control lets a test stop the process at a moment at which it runs no statement.
func control(stdin io.Reader) {
	lines := bufio.NewScanner(stdin)
	for lines.Scan() {
		switch lines.Text() {
		case "pause":
			statements.Lock()
			fmt.Println("paused")
		case "resume":
			statements.Unlock()
		}
	}
}

// work returns when the lease is lost. It relies on the store alone to notice that.
func work(store *sqlstore.Store, lease inbox.Lease) {
	ctx, lose := context.WithCancel(context.Background())
	defer lose()
	done := make(chan struct{})
	for chat := range chats.ChatID(workers) {
		go func() {
			defer func() { done <- struct{}{} }()
			for ctx.Err() == nil {
				err := increment(ctx, store, lease, chat+1)
				time.Sleep(2 * time.Millisecond)
				switch {
				case errors.Is(err, inbox.ErrLeaseLost):
					lose()
				case err != nil && ctx.Err() == nil:
					fmt.Println("error", err)
					time.Sleep(50 * time.Millisecond)
				}
			}
		}()
	}
	go func() {
		for ctx.Err() == nil {
			statements.RLock()
			_, err := store.Renew(ctx, lease)
			statements.RUnlock()
			if errors.Is(err, inbox.ErrLeaseLost) {
				lose()
			}
			time.Sleep(time.Second)
		}
	}()
	for range workers {
		<-done
	}
}

func increment(ctx context.Context, store *sqlstore.Store, lease inbox.Lease, chat chats.ChatID) error {
	statements.RLock()
	defer statements.RUnlock()
	rows, err := store.Chats(ctx, lease.Business, []chats.ChatID{chat})
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		rows = []inbox.ChatState{{Chat: chat}}
	}
	rows[0].Attempts++
	// Not with ctx: what is printed shall be all that was saved.
	if err := store.Save(context.Background(), lease, nil, rows); err != nil { //nolint:contextcheck // see above
		return err
	}
	fmt.Println("saved", chat, rows[0].Attempts)
	return nil
}
