// Package notify holds the drivers of alert.Notifier: Webhook, Slack and Email.
//
// Each tries once, within the time of its context, and answers an error where it is not certain that the notification has arrived; the engine
// tries again. Errors are *fault.Error that name no URL and no password, since users see them; the cause is for the operator's log.
package notify
