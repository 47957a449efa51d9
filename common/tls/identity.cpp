#include "common/tls/identity.hpp"

#include <fmt/format.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <utility>

namespace understudy::tls {
namespace {

constexpr std::string_view kRolePrefix = "understudy:role:";
constexpr std::string_view kVmPrefix = "understudy:vm:";
constexpr std::string_view kAll = "*";

constexpr std::array<std::pair<Role, std::string_view>, 5> kWords = {{{Role::arbiter, "arbiter"},
                                                                      {Role::host, "host"},
                                                                      {Role::gateway, "gateway"},
                                                                      {Role::client, "client"},
                                                                      {Role::site_operator, "operator"}}};

bool unreserved(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

std::string percent_encoded(std::string_view text) {
    std::string encoded;
    for (const char c : text) {
        if (unreserved(c)) {
            encoded += c;
        } else {
            encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
    }
    return encoded;
}

std::optional<std::string> percent_decoded(std::string_view text) {
    std::string decoded;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (unreserved(text[i])) {
            decoded += text[i];
            continue;
        }
        unsigned value = 0;
        const char* digits = text.data() + i + 1;
        if (text[i] != '%' || text.size() - i < 3 || std::from_chars(digits, digits + 2, value, 16).ptr != digits + 2) {
            return std::nullopt;
        }
        decoded += static_cast<char>(value);
        i += 2;
    }
    return decoded;
}

std::string text_of(const ASN1_STRING* text) {
    return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
            static_cast<std::size_t>(ASN1_STRING_length(text))};
}

std::string common_name(const X509* certificate) {
    const X509_NAME* subject = X509_get_subject_name(certificate);
    const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    return at < 0 ? std::string() : text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
}

}  // namespace

std::string_view word(Role role) {
    return std::ranges::find(kWords, role, &decltype(kWords)::value_type::first)->second;
}

bool Identity::may_act_for(const VmId& vm) const {
    return all_vms || std::ranges::find(vms, vm) != vms.end();
}

std::vector<std::string> uris_of(const Identity& identity) {
    std::vector<std::string> uris{fmt::format("{}{}", kRolePrefix, word(identity.role))};
    if (identity.all_vms) {
        uris.push_back(fmt::format("{}{}", kVmPrefix, kAll));
    }
    for (const VmId& vm : identity.vms) {
        uris.push_back(fmt::format("{}{}", kVmPrefix, percent_encoded(vm)));
    }
    return uris;
}

std::optional<Identity> identity_from(std::string_view name, const std::vector<std::string>& uris) {
    Identity identity;
    identity.name = name;
    bool has_role = false;
    for (const std::string_view uri : uris) {
        if (uri.starts_with(kRolePrefix)) {
            const auto found =
                std::ranges::find(kWords, uri.substr(kRolePrefix.size()), &decltype(kWords)::value_type::second);
            if (found == kWords.end() || has_role) {
                return std::nullopt;
            }
            identity.role = found->first;
            has_role = true;
        } else if (uri.starts_with(kVmPrefix)) {
            const auto rest = uri.substr(kVmPrefix.size());
            if (rest == kAll) {
                identity.all_vms = true;
            } else if (auto vm = percent_decoded(rest)) {
                identity.vms.push_back(std::move(*vm));
            } else {
                return std::nullopt;
            }
        }
    }
    return has_role ? std::optional(std::move(identity)) : std::nullopt;
}

std::optional<Identity> identity_of(const x509_st* certificate) {
    if (certificate == nullptr) {
        return std::nullopt;
    }
    const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
        &GENERAL_NAMES_free);
    std::vector<std::string> uris;
    for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
        const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
        if (name->type == GEN_URI) {
            uris.push_back(text_of(name->d.uniformResourceIdentifier));
        }
    }
    return identity_from(common_name(certificate), uris);
}

std::string objection_to(const std::optional<Identity>& peer, Role role, const VmId& vm) {
    if (!peer) {
        return "its certificate says no role: 'understudy init' makes certificates that do";
    }
    if (peer->role != role) {
        return fmt::format("the certificate of '{}' is {} {}'s, not a {}'s", peer->name,
                           word(peer->role).find_first_of("aeiou") == 0 ? "an" : "a", word(peer->role), word(role));
    }
    if (!peer->may_act_for(vm)) {
        return fmt::format(
            "the certificate of '{}' is not for the VM '{}': 'understudy init --{} NAME={}' makes one that is",
            peer->name, vm, word(role), vm);
    }
    return {};
}

std::string arbiter_name(std::uint64_t number) {
    return fmt::format("{}-{}", word(Role::arbiter), number);
}

}  // namespace understudy::tls
