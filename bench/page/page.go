// Package page puts what programs write into pages that people write.
package page

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// What stands between the marks is written by a command; the rest of the page is left alone.
func marks(command string) (begin, end string) {
	return "<!-- " + command + " writes from here -->", "<!-- to here -->"
}

// Insert puts a command's text between its marks in a page.
func Insert(page, command, text string) (string, error) {
	before, _, after, err := cut(page, command)
	if err != nil {
		return "", err
	}
	return before + "\n" + strings.TrimRight(text, "\n") + "\n" + after, nil
}

// Part is what stands between a command's marks in a page.
func Part(page, command string) (string, error) {
	_, part, _, err := cut(page, command)
	return part, err
}

// cut divides a page; the marks stay with what is around the part.
func cut(page, command string) (before, part, after string, err error) {
	begin, end := marks(command)
	before, rest, ok := strings.Cut(page, begin)
	part, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", "", "", errors.New("the page has no place for it: " + begin + " ... " + end)
	}
	return before + begin, part, end + after, nil
}

// Write is Insert for the page in a file.
func Write(path, command, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("write a part of a page: %w", err)
	}
	page, err := Insert(string(old), command, text)
	if err != nil {
		return fmt.Errorf("write a part of %s: %w", path, err)
	}
	if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
		return fmt.Errorf("write a part of a page: %w", err)
	}
	return nil
}
