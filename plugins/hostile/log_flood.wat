;; Writes 900 log lines of 1 KiB, fewer than a call may make host calls and more than it may log:
;; the call succeeds, and what is over 64 KiB is dropped and counted.
(component
  (import "bulkhead:plugin/types@0.1.0" (instance $types
    (type $context (record
      (field "tenant" string) (field "user" (option string)) (field "trace-id" string)
      (field "locale" string) (field "deadline-ms" u64)))
    (export "call-context" (type (eq $context)))
    (type $error (variant
      (case "invalid-input" string) (case "denied" string) (case "not-found" string)
      (case "conflict" string) (case "unavailable" string) (case "internal" string)
      (case "other" (tuple string string))))
    (export "plugin-error" (type (eq $error)))))
  (alias export $types "call-context" (type $call-context))
  (alias export $types "plugin-error" (type $plugin-error))
  (import "bulkhead:plugin/log@0.1.0" (instance $log
    (type $names (enum "trace" "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $names)))
    (export "write" (func
      (param "level" $level) (param "message" string)
      (param "fields" (list (tuple string string)))))))

  ;; Memory comes first: the import below reads from it or writes to it.
  (core module $memory
    (memory (export "memory") 32)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0x10000))
  (core instance $memory (instantiate $memory))
  (core func $write (canon lower (func $log "write") (memory (core memory $memory "memory"))))

  (core module $guest
    (import "memory" "memory" (memory 32))
    (import "host" "write" (func $write (param i32 i32 i32 i32 i32)))
    (func (export "apply-filter")
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (result i32)
      (local $left i32)
      (memory.fill (i32.const 1024) (i32.const 0x61) (i32.const 1024))
      (local.set $left (i32.const 900))
      (loop $more
        ;; Level `info`, the message, no fields.
        (call $write (i32.const 2) (i32.const 1024) (i32.const 1024) (i32.const 0) (i32.const 0))
        (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
      i32.const 16)
    (func (export "on-action")
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32) (result i32)
      i32.const 16))
  (core instance $guest (instantiate $guest
    (with "memory" (instance $memory))
    (with "host" (instance (export "write" (func $write))))))

  (func $apply-filter
    (param "ctx" $call-context) (param "name" string) (param "value" string) (param "args" string)
    (result (result (option string) (error $plugin-error)))
    (canon lift (core func $guest "apply-filter")
      (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (func $on-action
    (param "ctx" $call-context) (param "name" string) (param "args" string)
    (result (result (error $plugin-error)))
    (canon lift (core func $guest "on-action")
      (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (instance $hooks
    (export "call-context" (type $call-context)) (export "plugin-error" (type $plugin-error))
    (export "apply-filter" (func $apply-filter)) (export "on-action" (func $on-action)))
  (export "bulkhead:plugin/hooks@0.1.0" (instance $hooks)))
