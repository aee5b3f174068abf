//! The table: what every caller gets on every route.

/// The columns are those of `CLOSED`, `OPEN` and `OPERATIONS` (`callers.rs`): a server where uploads need a token or a certificate, and which
/// holds a private key; one that takes them from anyone, without a key; and the listener for operations of the first. `others` are
/// all methods that are not among the route's. A cell is a status, with a letter where it has several codes ([`CODES`]); `-` where the
/// connection is refused. One cell with `all` is that of everybody who is let in, and with `few` too: there it is enough to ask by
/// `FEW`.
pub(super) const TABLE: &str = "
route                  | method   | how                            | makes            | none wrong expir revok link  upl  read admin  fupl fadm  cupl cread cadm cnone crev  +wrong +read | none wrong read admin | ops
/                      | GET HEAD |                                |                  | 401  401   401   401   401   200  403  200    200  200   200  403   200  403   -     401    403   | 200  200   200  200   | 404
/                      | others   |                                |                  | 405 few                                                                                           | 405 all               | 404
/welcome               | GET HEAD |                                |                  | 404 all                                                                                           | 404 all               | 404
/welcome               | others   |                                |                  | 405 few                                                                                           | 405 all               | 404
/ca                    | GET HEAD |                                |                  | 404 all                                                                                           | 404 all               | 404
/ca                    | others   |                                |                  | 405 few                                                                                           | 405 all               | 404
/ca.crt                | GET HEAD |                                |                  | 404 all                                                                                           | 404 all               | 404
/ca.crt                | others   |                                |                  | 405 few                                                                                           | 405 all               | 404
/upload.js             | GET HEAD |                                |                  | 200 all                                                                                           | 200 all               | 404
/upload.js             | others   |                                |                  | 405 few                                                                                           | 405 all               | 404
/noble-hashes/{file}   | GET HEAD |                                |                  | 200 all                                                                                           | 200 all               | 404
/noble-hashes/{file}   | others   |                                |                  | 405 few                                                                                           | 405 all               | 404
/icon.svg              | GET HEAD |                                |                  | 200 all                                                                                           | 200 all               | 404
/icon.svg              | others   |                                |                  | 405 few                                                                                           | 405 all               | 404
/logo                  | GET HEAD |                                |                  | 200 all                                                                                           | 404 all               | 404
/logo                  | others   |                                |                  | 405 few                                                                                           | 405 all               | 404
/uploads               | GET HEAD |                                |                  | 401  401   401   401   401   403  200  200    403  200   403  200   200  403   -     401    200   | 401  401   200  200   | 404
/uploads               | GET      | means DELETE                   |                  | 401  401   401   401   401   403  200  200    403  200   403  200   200  403   -     401    200   | 401  401   200  200   | 404
/uploads               | POST     | form                           | +upload          | 401  401   401   401   401   201  403  201    201  201   201  403   201  403   -     401    403   | 201  201   201  201   | 404
/uploads               | POST     | raw                            | +upload          | 401  401   401   401   401   201  403  201    201  201   201  403   201  403   -     401    403   | 201  201   201  201   | 404
/uploads               | POST     | tus                            | +session         | 401  401   401   401   401   201  403  201    201  201   201  403   201  403   -     401    403   | 201  201   201  201   | 404
/uploads               | POST     | tus with body                  | +upload +session | 401  401   401   401   401   201  403  201    201  201   201  403   201  403   -     401    403   | 201  201   201  201   | 404
/uploads               | POST     | draft                          | +session         | 401  401   401   401   401   201  403  201    201  201   201  403   201  403   -     401    403   | 201  201   201  201   | 404
/uploads               | GET PUT  | tus, means POST                | +session         | 401  401   401   401   401   201  403  201    201  201   201  403   201  403   -     401    403   | 201  201   201  201   | 404
/uploads               | POST     | raw, cross-site                | +upload          | 401  403x  403x  403x  403x  403x 403x 403x   403x 403x  403x 403x  403x 403x  -     403x   403x  | 201  403x  403x 403x  | 404
/uploads               | GET      | tus, means POST, cross-site    | +session         | 401  403x  403x  403x  403x  403x 403x 403x   403x 403x  403x 403x  403x 403x  -     403x   403x  | 201  403x  403x 403x  | 404
/uploads               | OPTIONS  |                                |                  | 204 all                                                                                           | 204 all               | 404
/uploads               | others   |                                |                  | 405 all                                                                                           | 405 all               | 404
/uploads/              | POST PUT | raw                            | +upload          | 401  401   401   401   401   201  403  201    201  201   201  403   201  403   -     401    403   | 201  201   201  201   | 404
/uploads/              | POST PUT | draft                          | +session         | 401  401   401   401   401   201  403  201    201  201   201  403   201  403   -     401    403   | 201  201   201  201   | 404
/uploads/              | OPTIONS  |                                |                  | 204 all                                                                                           | 204 all               | 404
/uploads/              | others   |                                |                  | 405 few                                                                                           | 405 all               | 404
/uploads/{name}        | PUT      | raw                            | +upload          | 401  401   401   401   401   201  403  201    201  201   201  403   201  403   -     401    403   | 201  201   201  201   | 404
/uploads/{name}        | PUT      | draft                          | +session         | 401  401   401   401   401   201  403  201    201  201   201  403   201  403   -     401    403   | 201  201   201  201   | 404
/uploads/{name}        | PUT      | raw, cross-site                | +upload          | 401  403x  403x  403x  403x  403x 403x 403x   403x 403x  403x 403x  403x 403x  -     403x   403x  | 201  403x  403x 403x  | 404
/uploads/{name}        | OPTIONS  |                                |                  | 204 all                                                                                           | 204 all               | 404
/uploads/{name}        | others   |                                |                  | 405 few                                                                                           | 405 all               | 404
/uploads/{id}          | GET HEAD |                                |                  | 401  401   401   401   401   403  403  200    403  200   403  403   200  403   -     401    403   | 401  401   403  501   | 404
/uploads/{id}          | GET HEAD | unknown                        |                  | 401  401   401   401   401   403  403  404    403  404   403  403   404  403   -     401    403   | 401  401   403  501   | 404
/uploads/{id}          | GET      | means DELETE                   |                  | 401  401   401   401   401   403  403  200    403  200   403  403   200  403   -     401    403   | 401  401   403  501   | 404
/uploads/{id}          | DELETE   |                                | -upload          | 401  401   401   401   401   403  403  204    403  204   403  403   204  403   -     401    403   | 401  401   403  204   | 404
/uploads/{id}          | DELETE   | unknown                        |                  | 401  401   401   401   401   403  403  404    403  404   403  403   404  403   -     401    403   | 401  401   403  404   | 404
/uploads/{id}          | DELETE   | cross-site                     | -upload          | 401  401   401   401   401   403  403  403x   403  403x  403  403   403x 403   -     401    403   | 401  401   403  403x  | 404
/uploads/{id}          | PUT      | raw                            | +upload          | 401  401   401   401   401   201  403  201    201  201   201  403   201  403   -     401    403   | 201  201   201  201   | 404
/uploads/{id}          | OPTIONS  |                                |                  | 204 all                                                                                           | 204 all               | 404
/uploads/{id}          | others   |                                |                  | 405 all                                                                                           | 405 all               | 404
/uploads/{id}          | POST     | means DELETE                   |                  | 405 all                                                                                           | 405 all               | 404
/uploads/{id}          | POST     | tus, means DELETE              |                  | 405 all                                                                                           | 405 all               | 404
/uploads/{id}.{secret} | GET      | tus                            |                  | 204 all                                                                                           | 204 all               | 404
/uploads/{id}.{secret} | GET      | draft                          |                  | 204 all                                                                                           | 204 all               | 404
/uploads/{id}.{secret} | GET      | finished                       |                  | 200 all                                                                                           | 200 all               | 404
/uploads/{id}.{secret} | HEAD     | tus                            |                  | 200 all                                                                                           | 200 all               | 404
/uploads/{id}.{secret} | HEAD     | draft                          |                  | 204 all                                                                                           | 204 all               | 404
/uploads/{id}.{secret} | HEAD     | finished                       |                  | 204 all                                                                                           | 204 all               | 404
/uploads/{id}.{secret} | PATCH    | tus                            | +upload          | 204 all                                                                                           | 204 all               | 404
/uploads/{id}.{secret} | PATCH    | draft                          | +upload          | 201 few                                                                                           | 201 all               | 404
/uploads/{id}.{secret} | POST     | tus, means PATCH               | +upload          | 204 few                                                                                           | 204 all               | 404
/uploads/{id}.{secret} | DELETE   | tus                            | -session         | 204 all                                                                                           | 204 all               | 404
/uploads/{id}.{secret} | DELETE   | draft                          | -session         | 204 few                                                                                           | 204 all               | 404
/uploads/{id}.{secret} | POST     | tus, means DELETE              | -session         | 204 few                                                                                           | 204 all               | 404
/uploads/{id}.{secret} | OPTIONS  |                                |                  | 204 all                                                                                           | 204 all               | 404
/uploads/{id}.{secret} | POST     | raw                            |                  | 405 all                                                                                           | 405 all               | 404
/uploads/{id}.{secret} | POST     | tus with body                  |                  | 405 all                                                                                           | 405 all               | 404
/uploads/{id}.{secret} | others   |                                |                  | 405 all                                                                                           | 405 all               | 404
/uploads/{id}.{secret} | GET HEAD | another's                      |                  | 404u all                                                                                          | 404u all              | 404
/uploads/{id}.{secret} | PATCH    | tus, another's                 |                  | 404u all                                                                                          | 404u all              | 404
/uploads/{id}.{secret} | PATCH    | draft, another's               |                  | 404u all                                                                                          | 404u all              | 404
/uploads/{id}.{secret} | POST     | tus, means DELETE, another's   |                  | 404u all                                                                                          | 404u all              | 404
/uploads/{id}.{secret} | DELETE   | another's                      |                  | 404u all                                                                                          | 404u all              | 404
/uploads/{id}.{secret} | DELETE   | unknown                        |                  | 404u all                                                                                          | 404u all              | 404
/uploads/{id}.{secret} | PATCH    | tus, of a revoked link         |                  | 410r all                                                                                          | 410r all              | 404
/uploads/{id}.{secret} | PATCH    | draft, of a revoked link       |                  | 410r all                                                                                          | 410r all              | 404
/uploads/{id}.{secret} | GET HEAD | another link's                 |                  | 404u all                                                                                          | 404u all              | 404
/uploads/{id}.{secret} | PATCH    | tus, another link's            |                  | 404u all                                                                                          | 404u all              | 404
/uploads/{id}.{secret} | DELETE   | another link's                 |                  | 404u all                                                                                          | 404u all              | 404
/uploads/{id}/meta.age | GET HEAD |                                |                  | 401  401   401   401   401   403  200  200    403  200   403  200   200  403   -     401    200   | 401  401   200  200   | 404
/uploads/{id}/meta.age | GET HEAD | unknown                        |                  | 401  401   401   401   401   403  404  404    403  404   403  404   404  403   -     401    404   | 401  401   404  404   | 404
/uploads/{id}/meta.age | PUT      | rewrapped                      |                  | 401  401   401   401   401   403  403  428    403  428  403  403   428  403   -     401    403    | 401  401   403  428   | 404
/uploads/{id}/meta.age | PUT      | rewrapped, if-match            |                  | 401  401   401   401   401   403  403  412    403  412  403  403   412  403   -     401    403    | 401  401   403  412   | 404
/uploads/{id}/meta.age | PUT      | rewrapped, unknown             |                  | 401  401   401   401   401   403  403  428    403  428  403  403   428  403   -     401    403    | 401  401   403  428   | 404
/uploads/{id}/meta.age | PUT      | rewrapped, if-match, unknown   |                  | 401  401   401   401   401   403  403  404    403  404  403  403   404  403   -     401    403    | 401  401   403  404   | 404
/uploads/{id}/meta.age | PUT      | if-match                       |                  | 401  401   401   401   401   403  403  415    403  415  403  403   415  403   -     401    403    | 401  401   403  415   | 404
/uploads/{id}/meta.age | PUT      | rewrapped, if-match, cross-site |                  | 401  401   401   401   401   403  403  403x   403  403x 403  403   403x 403   -     401    403    | 401  401   403  403x  | 404
/uploads/{id}/meta.age | others   |                                |                  | 405 few                                                                                           | 405 all               | 404
/uploads/{id}/{file}   | GET HEAD |                                |                  | 401  401   401   401   401   403  200  200    403  200   403  200   200  403   -     401    200   | 401  401   200  200   | 404
/uploads/{id}/{file}   | GET HEAD | unknown                        |                  | 401  401   401   401   401   403  404  404    403  404   403  404   404  403   -     401    404   | 401  401   404  404   | 404
/uploads/{id}/{file}   | others   |                                |                  | 405 few                                                                                           | 405 all               | 404
/d/{token}             | GET HEAD |                                |                  | 200 all                                                                                           | 200 all               | 404
/d/{token}             | POST     | form                           | +upload          | 201 all                                                                                           | 201 all               | 404
/d/{token}             | POST     | raw                            | +upload          | 201 few                                                                                           | 201 all               | 404
/d/{token}             | POST     | raw, cross-site                | +upload          | 201 few                                                                                           | 201 all               | 404
/d/{token}             | POST     | tus                            | +session         | 201 all                                                                                           | 201 all               | 404
/d/{token}             | POST     | tus with body                  | +upload +session | 201 few                                                                                           | 201 all               | 404
/d/{token}             | POST     | draft                          | +session         | 201 few                                                                                           | 201 all               | 404
/d/{token}             | GET PUT  | tus, means POST                | +session         | 201 few                                                                                           | 201 all               | 404
/d/{token}             | PUT      | raw                            | +upload          | 201 few                                                                                           | 201 all               | 404
/d/{token}             | PUT      | draft                          | +session         | 201 few                                                                                           | 201 all               | 404
/d/{token}             | OPTIONS  |                                |                  | 204 few                                                                                           | 204 all               | 404
/d/{token}             | others   |                                |                  | 405 all                                                                                           | 405 all               | 404
/d/{token}             | GET HEAD | expired                        |                  | 410e all                                                                                          | 410e all              | 404
/d/{token}             | POST     | form, expired                  |                  | 410e all                                                                                          | 410e all              | 404
/d/{token}             | POST     | tus, expired                   |                  | 410e few                                                                                          | 410e all              | 404
/d/{token}             | POST     | tus with body, expired         |                  | 410e few                                                                                          | 410e all              | 404
/d/{token}             | GET      | tus, means POST, expired       |                  | 410e few                                                                                          | 410e all              | 404
/d/{token}             | POST PUT | raw, expired                   |                  | 410e few                                                                                          | 410e all              | 404
/d/{token}             | POST PUT | draft, expired                 |                  | 410e few                                                                                          | 410e all              | 404
/d/{token}             | OPTIONS  | expired                        |                  | 410e few                                                                                          | 410e all              | 404
/d/{token}             | GET HEAD | revoked                        |                  | 410r all                                                                                          | 410r all              | 404
/d/{token}             | POST     | form, revoked                  |                  | 410r all                                                                                          | 410r all              | 404
/d/{token}             | POST     | tus, revoked                   |                  | 410r few                                                                                          | 410r all              | 404
/d/{token}             | POST     | tus with body, revoked         |                  | 410r few                                                                                          | 410r all              | 404
/d/{token}             | GET      | tus, means POST, revoked       |                  | 410r few                                                                                          | 410r all              | 404
/d/{token}             | POST PUT | raw, revoked                   |                  | 410r few                                                                                          | 410r all              | 404
/d/{token}             | POST PUT | draft, revoked                 |                  | 410r few                                                                                          | 410r all              | 404
/d/{token}             | OPTIONS  | revoked                        |                  | 410r few                                                                                          | 410r all              | 404
/d/{token}             | others   | revoked                        |                  | 405 all                                                                                           | 405 all               | 404
/d/{token}             | GET HEAD | used up                        |                  | 403l all                                                                                          | 403l all              | 404
/d/{token}             | POST     | form, used up                  |                  | 403l all                                                                                          | 403l all              | 404
/d/{token}             | POST     | tus, used up                   |                  | 403l few                                                                                          | 403l all              | 404
/d/{token}             | POST     | tus with body, used up         |                  | 403l few                                                                                          | 403l all              | 404
/d/{token}             | GET      | tus, means POST, used up       |                  | 403l few                                                                                          | 403l all              | 404
/d/{token}             | POST PUT | raw, used up                   |                  | 403l few                                                                                          | 403l all              | 404
/d/{token}             | POST PUT | draft, used up                 |                  | 403l few                                                                                          | 403l all              | 404
/d/{token}             | OPTIONS  | used up                        |                  | 403l few                                                                                          | 403l all              | 404
/d/{token}             | GET HEAD | unknown                        |                  | 404l all                                                                                          | 404l all              | 404
/d/{token}             | POST     | form, unknown                  |                  | 404l all                                                                                          | 404l all              | 404
/d/{token}             | POST     | tus, unknown                   |                  | 404l few                                                                                          | 404l all              | 404
/d/{token}             | POST     | tus with body, unknown         |                  | 404l few                                                                                          | 404l all              | 404
/d/{token}             | GET      | tus, means POST, unknown       |                  | 404l few                                                                                          | 404l all              | 404
/d/{token}             | POST PUT | raw, unknown                   |                  | 404l few                                                                                          | 404l all              | 404
/d/{token}             | POST PUT | draft, unknown                 |                  | 404l few                                                                                          | 404l all              | 404
/d/{token}             | OPTIONS  | unknown                        |                  | 404l few                                                                                          | 404l all              | 404
/d/{token}             | others   | unknown                        |                  | 405 all                                                                                           | 405 all               | 404
/d/{token}             | GET HEAD | malformed                      |                  | 404l all                                                                                          | 404l all              | 404
/d/{token}             | POST     | form, malformed                |                  | 404l all                                                                                          | 404l all              | 404
/d/{token}             | POST     | tus, malformed                 |                  | 404l few                                                                                          | 404l all              | 404
/d/{token}             | POST     | tus with body, malformed       |                  | 404l few                                                                                          | 404l all              | 404
/d/{token}             | GET      | tus, means POST, malformed     |                  | 404l few                                                                                          | 404l all              | 404
/d/{token}             | POST PUT | raw, malformed                 |                  | 404l few                                                                                          | 404l all              | 404
/d/{token}             | POST PUT | draft, malformed               |                  | 404l few                                                                                          | 404l all              | 404
/d/{token}             | OPTIONS  | malformed                      |                  | 404l few                                                                                          | 404l all              | 404
/d/{token}/{name}      | PUT      | raw                            | +upload          | 201 all                                                                                           | 201 all               | 404
/d/{token}/{name}      | PUT      | draft                          | +session         | 201 few                                                                                           | 201 all               | 404
/d/{token}/{name}      | OPTIONS  |                                |                  | 204 few                                                                                           | 204 all               | 404
/d/{token}/{name}      | others   |                                |                  | 405 few                                                                                           | 405 all               | 404
/d/{token}/{name}      | others   | upload URL                     |                  | 405 few                                                                                           | 405 all               | 404
/d/{token}/{name}      | PUT      | raw, expired                   |                  | 410e all                                                                                          | 410e all              | 404
/d/{token}/{name}      | PUT      | draft, expired                 |                  | 410e few                                                                                          | 410e all              | 404
/d/{token}/{name}      | OPTIONS  | expired                        |                  | 410e few                                                                                          | 410e all              | 404
/d/{token}/{name}      | PUT      | raw, revoked                   |                  | 410r all                                                                                          | 410r all              | 404
/d/{token}/{name}      | PUT      | draft, revoked                 |                  | 410r few                                                                                          | 410r all              | 404
/d/{token}/{name}      | OPTIONS  | revoked                        |                  | 410r few                                                                                          | 410r all              | 404
/d/{token}/{name}      | PUT      | raw, used up                   |                  | 403l all                                                                                          | 403l all              | 404
/d/{token}/{name}      | PUT      | draft, used up                 |                  | 403l few                                                                                          | 403l all              | 404
/d/{token}/{name}      | OPTIONS  | used up                        |                  | 403l few                                                                                          | 403l all              | 404
/d/{token}/{name}      | PUT      | raw, unknown                   |                  | 404l all                                                                                          | 404l all              | 404
/d/{token}/{name}      | PUT      | draft, unknown                 |                  | 404l few                                                                                          | 404l all              | 404
/d/{token}/{name}      | OPTIONS  | unknown                        |                  | 404l few                                                                                          | 404l all              | 404
/d/{token}/{name}      | PUT      | raw, malformed                 |                  | 404l all                                                                                          | 404l all              | 404
/d/{token}/{name}      | PUT      | draft, malformed               |                  | 404l few                                                                                          | 404l all              | 404
/d/{token}/{name}      | OPTIONS  | malformed                      |                  | 404l few                                                                                          | 404l all              | 404
/d/{token}/recipients  | GET HEAD |                                |                  | 200 all                                                                                           | 200 all               | 404
/d/{token}/recipients  | PUT      | raw                            | +upload          | 201 few                                                                                           | 201 all               | 404
/d/{token}/recipients  | OPTIONS  |                                |                  | 204 few                                                                                           | 204 all               | 404
/d/{token}/recipients  | others   |                                |                  | 405 few                                                                                           | 405 all               | 404
/d/{token}/recipients  | GET HEAD | expired                        |                  | 410e all                                                                                          | 410e all              | 404
/d/{token}/recipients  | PUT      | raw, expired                   |                  | 410e few                                                                                          | 410e all              | 404
/d/{token}/recipients  | OPTIONS  | expired                        |                  | 410e few                                                                                          | 410e all              | 404
/d/{token}/recipients  | GET HEAD | revoked                        |                  | 410r all                                                                                          | 410r all              | 404
/d/{token}/recipients  | PUT      | raw, revoked                   |                  | 410r few                                                                                          | 410r all              | 404
/d/{token}/recipients  | OPTIONS  | revoked                        |                  | 410r few                                                                                          | 410r all              | 404
/d/{token}/recipients  | GET HEAD | used up                        |                  | 403l all                                                                                          | 403l all              | 404
/d/{token}/recipients  | PUT      | raw, used up                   |                  | 403l few                                                                                          | 403l all              | 404
/d/{token}/recipients  | OPTIONS  | used up                        |                  | 403l few                                                                                          | 403l all              | 404
/d/{token}/recipients  | GET HEAD | unknown                        |                  | 404l all                                                                                          | 404l all              | 404
/d/{token}/recipients  | PUT      | raw, unknown                   |                  | 404l few                                                                                          | 404l all              | 404
/d/{token}/recipients  | OPTIONS  | unknown                        |                  | 404l few                                                                                          | 404l all              | 404
/d/{token}/recipients  | GET HEAD | malformed                      |                  | 404l all                                                                                          | 404l all              | 404
/d/{token}/recipients  | PUT      | raw, malformed                 |                  | 404l few                                                                                          | 404l all              | 404
/d/{token}/recipients  | OPTIONS  | malformed                      |                  | 404l few                                                                                          | 404l all              | 404
/links                 | GET HEAD |                                |                  | 401  401   401   401   401   403  403  200    403  200   403  403   200  403   -     401    403   | 401  401   403  200   | 404
/links                 | POST     | json                           | +link            | 401  401   401   401   401   403  403  201    403  201   403  403   201  403   -     401    403   | 401  401   403  201   | 404
/links                 | POST     | json, cross-site               | +link            | 401  401   401   401   401   403  403  403x   403  403x  403  403   403x 403   -     401    403   | 401  401   403  403x  | 404
/links                 | GET      | means POST                     |                  | 401  401   401   401   401   403  403  200    403  200   403  403   200  403   -     401    403   | 401  401   403  200   | 404
/links                 | others   |                                |                  | 405 few                                                                                           | 405 all               | 404
/links/{id}            | GET HEAD |                                |                  | 401  401   401   401   401   403  403  200    403  200   403  403   200  403   -     401    403   | 401  401   403  200   | 404
/links/{id}            | GET HEAD | unknown                        |                  | 401  401   401   401   401   403  403  404l   403  404l  403  403   404l 403   -     401    403   | 401  401   403  404l  | 404
/links/{id}            | GET      | means DELETE                   |                  | 401  401   401   401   401   403  403  200    403  200   403  403   200  403   -     401    403   | 401  401   403  200   | 404
/links/{id}            | DELETE   |                                | change           | 401  401   401   401   401   403  403  204    403  204   403  403   204  403   -     401    403   | 401  401   403  204   | 404
/links/{id}            | DELETE   | unknown                        |                  | 401  401   401   401   401   403  403  404l   403  404l  403  403   404l 403   -     401    403   | 401  401   403  404l  | 404
/links/{id}            | DELETE   | cross-site                     | change           | 401  401   401   401   401   403  403  403x   403  403x  403  403   403x 403   -     401    403   | 401  401   403  403x  | 404
/links/{id}            | others   |                                |                  | 405 all                                                                                           | 405 all               | 404
*                      | OPTIONS  |                                |                  | 204 all                                                                                           | 204 all               | 404
*                      | GET HEAD |                                |                  | 405 all                                                                                           | 405 all               | 404
*                      | POST PUT | raw                            |                  | 405 all                                                                                           | 405 all               | 404
*                      | PATCH    | tus                            |                  | 405 all                                                                                           | 405 all               | 404
*                      | DELETE   |                                |                  | 405 all                                                                                           | 405 all               | 404
*                      | others   |                                |                  | 405 few                                                                                           | 405 all               | 404
/encrypt               | POST     | data                           |                  | 401  401   401   401   401   200  403  200    200  200   200  403   200  403   -     401    403   | 200  200   200  200   | 404
/encrypt               | others   |                                |                  | 405 few                                                                                           | 405 all               | 404
/decrypt               | POST     | data                           |                  | 401  401   401   401   401   403  403  200    403  200   403  403   200  403   -     401    403   | 401  401   403  501   | 404
/decrypt               | POST     | data, cross-site               |                  | 401  401   401   401   401   403  403  403x   403  403x  403  403   403x 403   -     401    403   | 401  401   403  501   | 404
/decrypt               | others   |                                |                  | 405 all                                                                                           | 405 all               | 404
/recipients            | GET HEAD |                                |                  | 200 all                                                                                           | 200 all               | 404
/recipients            | others   |                                |                  | 405 few                                                                                           | 405 all               | 404
/healthz               | GET HEAD |                                |                  | 200 all                                                                                           | 200 all               | 200
/healthz               | others   |                                |                  | 405 few                                                                                           | 405 all               | 405
/readyz                | GET HEAD |                                |                  | 200 all                                                                                           | 200 all               | 200
/readyz                | others   |                                |                  | 405 few                                                                                           | 405 all               | 405
/metrics               | GET HEAD |                                |                  | 401  401   401   401   401   403  403  200    403  200   403  403   200  403   -     401    403   | 401  401   403  200   | 200
/metrics               | others   |                                |                  | 405 all                                                                                           | 405 all               | 405
! /nothing             | any      |                                |                  | 404 all                                                                                           | 404 all               | 404
! /UPLOADS             | GET POST |                                |                  | 404 all                                                                                           | 404 all               | 404
! //uploads            | GET POST |                                |                  | 404 all                                                                                           | 404 all               | 404
! /uploads/name/x      | GET POST |                                |                  | 404 all                                                                                           | 404 all               | 404
! /metrics/            | GET POST |                                |                  | 404 all                                                                                           | 404 all               | 404
! /uploads/..%2f/x     | GET POST |                                |                  | 404 all                                                                                           | 404 all               | 404
! /uploads/%zz         | any      |                                |                  | 400 few                                                                                           | 400 all               | 404
! /nothing             | POST     | form                           |                  | 404 all                                                                                           | 404 all               | 404
! /nothing             | POST     | tus, means DELETE              |                  | 404 all                                                                                           | 404 all               | 404
";

/// What a refusal is called, by its cell.
pub(super) const CODES: [(&str, &str); 15] = [
    ("400", "malformed-path"),
    ("401", "unauthorized"),
    ("403", "forbidden"),
    ("403l", "link-used-up"),
    ("403x", "cross-site"),
    ("404", "not-found"),
    ("404l", "no-such-link"),
    ("404u", "no-such-upload"),
    ("405", "method-not-allowed"),
    ("410e", "link-expired"),
    ("410r", "link-revoked"),
    ("412", "precondition-failed"),
    ("415", "unsupported-media-type"),
    ("428", "precondition-required"),
    ("501", "no-private-key"),
];
