// What an operator asks of a cluster of our own servers: calls that wait for the answer, for the command line and
// tests.
#pragma once

#include <chrono>
#include <string>
#include <variant>

#include "arbiter/client/engines.hpp"
#include "arbiter/wire/protocol.hpp"
#include "common/address.hpp"

namespace understudy::arbiter {

using RequestBody = decltype(Request::body);

// One request to one server: its reply, or one line that says why there is none.
[[nodiscard]] std::variant<Reply, std::string> ask_server(const ParsedUrl& url, const Address& server, RequestBody body,
                                                          std::chrono::milliseconds timeout);

// What one server says of itself, or one line that says why it says nothing.
[[nodiscard]] std::variant<StatusReply, std::string> server_status(const ParsedUrl& url, const Address& server,
                                                                   std::chrono::milliseconds timeout);

// One request to whoever leads the cluster, asked until `timeout`. Throws understudy::Error when nobody answers.
[[nodiscard]] Reply ask_leader(const ParsedUrl& url, const RequestBody& body, std::chrono::milliseconds timeout);

}  // namespace understudy::arbiter
