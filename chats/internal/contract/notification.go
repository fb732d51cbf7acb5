package contract

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/ymchats/ymchats-go/gen/notification"
)

var loadNotifications = sync.OnceValues(func() (*routers.Route, error) {
	path, err := find("api/notifications.openapi.yaml")
	if err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromFile(path)
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, err
	}
	item := doc.Paths.Find("/notification")
	return &routers.Route{
		Spec: doc, Path: "/notification", PathItem: item, Method: http.MethodPost, Operation: item.Post,
	}, nil
})

// NotificationResponse checks the response to a notification against
// api/notifications.openapi.yaml and against what the library promises in addition: a time in
// UTC, and a type and a message in every failure. The response to unauthorised senders, a 403,
// must have the body of a 400.
func NotificationResponse(status int, header http.Header, body []byte) error {
	route, err := loadNotifications()
	if err != nil {
		return err
	}
	described := status
	if status == http.StatusForbidden {
		described = http.StatusBadRequest
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: &http.Request{}, Route: route},
		Status:                 described,
		Header:                 header,
		Options:                &openapi3filter.Options{IncludeResponseStatus: true},
	}
	input.SetBodyBytes(body)
	if err := openapi3filter.ValidateResponse(context.Background(), input); err != nil {
		return fmt.Errorf("response %d: %w", status, err)
	}
	return notificationPromises(status, body)
}

func notificationPromises(status int, body []byte) error {
	if status == http.StatusOK {
		var ok struct{ Time string }
		if err := json.Unmarshal(body, &ok); err != nil {
			return err
		}
		if !strings.HasSuffix(ok.Time, "Z") {
			return fmt.Errorf("response 200: time %q is not in UTC", ok.Time)
		}
		return nil
	}
	var failure notification.ErrorResponse
	if err := json.Unmarshal(body, &failure); err != nil {
		return err
	}
	if !failure.Error.Type.Valid() || failure.Error.Message == "" {
		return errors.New("response without the type and message of a failure")
	}
	return nil
}

// NotificationBody checks a notification against api/notifications.openapi.yaml.
func NotificationBody(body []byte) error {
	route, err := loadNotifications()
	if err != nil {
		return err
	}
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		return err
	}
	return route.Operation.RequestBody.Value.Content.Get("application/json").Schema.Value.VisitJSON(
		value, openapi3.VisitAsRequest(), openapi3.EnableFormatValidation())
}

// NotificationExamples returns the example bodies of api/notifications.openapi.yaml by name.
func NotificationExamples() (map[string][]byte, error) {
	route, err := loadNotifications()
	if err != nil {
		return nil, err
	}
	bodies := map[string][]byte{}
	for name, example := range route.Operation.RequestBody.Value.Content.Get("application/json").Examples {
		if bodies[name], err = json.Marshal(example.Value.Value); err != nil {
			return nil, err
		}
	}
	return bodies, nil
}
