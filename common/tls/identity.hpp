// Who a certificate says that its holder is. `understudy init` writes it (authority.hpp), as names in the certificate's
// subjectAltName; both sides of every TLS connection read it:
//
//   URI  understudy:role:host        one of arbiter, host, gateway, client, operator
//   URI  understudy:vm:NAME          a VM that a host or gateway acts for, percent-encoded; any number of them
//   URI  understudy:vm:*             it acts for all VMs
//   DNS  host-alpha                  the holder's name, for tools that insist on one (the common name is the same)
//
//   arbiter   one server of the arbiter, number N: "arbiter-N"; speaks as that peer, and serves
//   host      runs replicas of its VMs: asks the arbiter for them, is their primary or backup, speaks for them at a
//   gateway gateway   has the network of its VMs client    reads: the arbiter's state and its metrics operator operates
//   a cluster of arbiters
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/units.hpp"

struct x509_st;

namespace understudy::tls {

enum class Role : std::uint8_t { arbiter, host, gateway, client, site_operator };

[[nodiscard]] std::string_view word(Role role);

struct Identity {
    Role role = Role::client;
    std::string name;  // "host-alpha": the role's word, and which of them; an operator may be just "operator"
    std::vector<VmId> vms;
    bool all_vms = false;

    bool operator==(const Identity&) const = default;
    [[nodiscard]] bool may_act_for(const VmId& vm) const;
};

// The names in a certificate, and back.
[[nodiscard]] std::vector<std::string> uris_of(const Identity& identity);
[[nodiscard]] std::optional<Identity> identity_from(std::string_view common_name, const std::vector<std::string>& uris);
// Nothing: the certificate says no role that is known here. Null: nothing, too.
[[nodiscard]] std::optional<Identity> identity_of(const x509_st* certificate);

// What stands against a peer, where one of `role` is wanted that may act for `vm`; empty: nothing. No peer's identity
// means that its certificate says none. For logs, and for the peer.
[[nodiscard]] std::string objection_to(const std::optional<Identity>& peer, Role role, const VmId& vm);

// The name of the arbiter's server `number`.
[[nodiscard]] std::string arbiter_name(std::uint64_t number);

}  // namespace understudy::tls
