;; Answers 200 with the headers that it was given, and with everything that it was told: each string of
;; the call lands in one stretch of memory, and that stretch is the body. What must not reach a guest can
;; so be looked for. The second byte of the path chooses otherwise: `/loop`, `/trap`, `/recurse`, `/memory`,
;; `/big` (1 MiB and one byte), `/denied` (a plugin error), `/status` (a status of 1000).
(module
  (memory (export "memory") 64)
  ;; Where the next string goes; strings begin here.
  (global $next (mut i32) (i32.const 0x10000))
  (data (i32.const 256) "not today")
  (func (export "cabi_realloc") (param i32 i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and
      (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get $align))))
    (global.set $next (i32.add (local.get $at) (local.get $size)))
    (local.get $at))
  (func $deeper (param i32) (result i32)
    (i32.add (call $deeper (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
  (func $ok (param $status i32) (param $headers i32) (param $headers_length i32) (param $body i32) (param $body_length i32) (result i32)
    (i32.store8 (i32.const 16) (i32.const 0))
    (i32.store16 (i32.const 20) (local.get $status))
    (i32.store (i32.const 24) (local.get $headers))
    (i32.store (i32.const 28) (local.get $headers_length))
    (i32.store (i32.const 32) (local.get $body))
    (i32.store (i32.const 36) (local.get $body_length))
    (i32.const 16))
  (func (export "bulkhead:plugin/routes@0.1.0#handle") (param $call i32) (result i32)
    (local $choice i32)
    (if (i32.ge_u (i32.load offset=60 (local.get $call)) (i32.const 2))
      (then (local.set $choice (i32.load8_u offset=1 (i32.load offset=56 (local.get $call))))))
    ;; l
    (if (i32.eq (local.get $choice) (i32.const 0x6c)) (then (loop $for_ever (br $for_ever))))
    ;; t
    (if (i32.eq (local.get $choice) (i32.const 0x74)) (then unreachable))
    ;; r
    (if (i32.eq (local.get $choice) (i32.const 0x72)) (then (drop (call $deeper (i32.const 0)))))
    ;; m
    (if (i32.eq (local.get $choice) (i32.const 0x6d)) (then (loop $more (drop (memory.grow (i32.const 64))) (br $more))))
    ;; b
    (if (i32.eq (local.get $choice) (i32.const 0x62)) (then
      (return (call $ok (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0x10000) (i32.const 0x100001)))))
    ;; s
    (if (i32.eq (local.get $choice) (i32.const 0x73)) (then
      (return (call $ok (i32.const 1000) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))))
    ;; d: error, its second case, the text.
    (if (i32.eq (local.get $choice) (i32.const 0x64)) (then
      (i32.store8 (i32.const 16) (i32.const 1))
      (i32.store8 (i32.const 20) (i32.const 1))
      (i32.store (i32.const 24) (i32.const 256))
      (i32.store (i32.const 28) (i32.const 9))
      (return (i32.const 16))))
    (call $ok (i32.const 200)
      (i32.load offset=92 (local.get $call)) (i32.load offset=96 (local.get $call))
      (i32.const 0x10000) (i32.sub (global.get $next) (i32.const 0x10000)))))
