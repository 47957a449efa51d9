// What the holder of a certificate may ask of a server. Without TLS everybody is on this machine, and may everything.
//
//   arbiter    speaks as the peer of its number; what an operator may
//   host       form, test_and_set and end, for its VMs; and read, list, status
//   operator   add, remove, transfer, snapshot; end where no replica is left to say it (`forget`); read, list, status
//   client     read, list, status
#pragma once

#include <optional>
#include <string>

#include "arbiter/wire/protocol.hpp"
#include "common/tls/identity.hpp"

namespace understudy::arbiter {

// What stands against a connection's greeting; empty: nothing. Whoever has none has a role.
[[nodiscard]] std::string objection_to(const std::optional<tls::Identity>& who, const Hello& hello);

// The reply to a request that its sender may not make; nothing: it may.
[[nodiscard]] std::optional<Reply> refusal_of(const tls::Identity& who, const Request& request);

}  // namespace understudy::arbiter
