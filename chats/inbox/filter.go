package inbox

import "github.com/ymchats/ymchats-go/chats"

// dependsOnState reports whether a chat may match now and not a moment later.
func dependsOnState(f *chats.Filter) bool { return len(f.Statuses) > 0 || len(f.Types) > 0 }
