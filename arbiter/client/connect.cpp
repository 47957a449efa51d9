// The URL, and what both engines have in common.
#include "arbiter/client/client.hpp"
#include "arbiter/client/engines.hpp"
#include "arbiter/register/vm_register.hpp"
#include "arbiter/wire/protocol.hpp"
#include "common/error.hpp"

namespace understudy::arbiter {
namespace {

Error malformed(std::string_view url, std::string_view why) {
    return Error::format(
        "'{}' is not an arbiter's URL ({}); write raft://host:port,host:port,host:port or etcd://host:port,…", url,
        why);
}

// What stands behind the question mark: name=value&name=value…
std::map<std::string, std::string> parse_parameters(std::string_view url, std::string_view rest) {
    std::map<std::string, std::string> parameters;
    while (!rest.empty()) {
        const auto end = std::min(rest.find('&'), rest.size());
        const auto equals = rest.substr(0, end).find('=');
        if (equals == std::string_view::npos) {
            throw malformed(url, "a parameter without a value");
        }
        parameters[std::string(rest.substr(0, equals))] = rest.substr(equals + 1, end - equals - 1);
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return parameters;
}

bool has_parameter(std::string_view scheme, std::string_view name) {
    return scheme == "raft" ? name == "tls" || name == "cluster" : name == "prefix";
}

}  // namespace

ParsedUrl parse_url(std::string_view url, std::shared_ptr<tls::Context> own) {
    ParsedUrl parsed;
    const auto scheme_end = url.find("://");
    if (scheme_end == std::string_view::npos) {
        throw malformed(url, "no scheme");
    }
    parsed.scheme = url.substr(0, scheme_end);
    if (parsed.scheme != "raft" && parsed.scheme != "etcd") {
        throw malformed(url, "unknown scheme");
    }
    const auto rest = url.substr(scheme_end + 3);
    const auto question = rest.find('?');
    parsed.servers = parse_addresses(rest.substr(0, question));
    if (question != std::string_view::npos) {
        parsed.parameters = parse_parameters(url, rest.substr(question + 1));
    }
    for (const auto& [name, value] : parsed.parameters) {
        if (!has_parameter(parsed.scheme, name)) {
            throw malformed(url, "unknown parameter '" + name + "'");
        }
    }
    if (parsed.servers.size() > raft::kMaxMembers) {
        throw malformed(url, "too many servers");
    }
    if (parsed.scheme != "raft") {
        return parsed;
    }
    const auto credentials = parsed.parameter("tls", "");
    parsed.tls = credentials.empty() ? std::move(own) : std::make_shared<tls::Context>(credentials);
    if (!parsed.tls) {
        for (const auto& server : parsed.servers) {
            if (!server.loopback()) {
                throw Error::format(
                    "plain text is for loopback only, and {} is not; add ?tls=FOLDER/NAME, the credentials that "
                    "'understudy init' made",
                    server.text());
            }
        }
    }
    return parsed;
}

std::string ParsedUrl::parameter(const std::string& name, const std::string& otherwise) const {
    const auto it = parameters.find(name);
    return it == parameters.end() ? otherwise : it->second;
}

Outcome read_outcome(const VmId& vm, const std::optional<VmState>& found) {
    if (found) {
        return {Verdict::yes, found, {}};
    }
    return {Verdict::no, std::nullopt, explain(Reason::unknown_vm, vm, {})};
}

Outcome not_considered(const VmId& vm) {
    return {Verdict::no, std::nullopt, explain(Reason::invalid, vm, {}), true};
}

Outcome no_answer(std::string_view from, std::string_view trouble) {
    return {Verdict::unknown, std::nullopt,
            fmt::format("{} did not answer in time{}", from, trouble.empty() ? "" : fmt::format(" ({})", trouble))};
}

std::unique_ptr<Client> connect(boost::asio::io_context& io, std::string_view url) {
    return connect(io, parse_url(url));
}

std::unique_ptr<Client> connect(boost::asio::io_context& io, const ParsedUrl& parsed) {
    if (parsed.scheme == "raft") {
        return connect_raft(io, parsed);
    }
    return connect_etcd(io, parsed);
}

}  // namespace understudy::arbiter
