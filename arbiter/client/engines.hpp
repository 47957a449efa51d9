// The two engines behind arbiter::connect (client.hpp), and the URL that chooses one of them.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "arbiter/client/client.hpp"
#include "common/address.hpp"
#include "common/tls/context.hpp"

namespace understudy::arbiter {

struct ParsedUrl {
    std::string scheme;  // "raft" or "etcd"
    std::vector<Address> servers;
    std::map<std::string, std::string> parameters;
    std::shared_ptr<tls::Context> tls;  // of "raft"; null: plain text

    [[nodiscard]] std::string parameter(const std::string& name, const std::string& otherwise) const;
};
// `own`: the credentials of the caller, which are used where the URL names none. Throws understudy::Error that says how
// a URL is written, or what is wrong with its credentials.
[[nodiscard]] ParsedUrl parse_url(std::string_view url, std::shared_ptr<tls::Context> own = nullptr);

// What both engines answer alike: to a read that found this, to a request out of all bounds, and where no answer came
// in time.
[[nodiscard]] Outcome read_outcome(const VmId& vm, const std::optional<VmState>& found);
[[nodiscard]] Outcome not_considered(const VmId& vm);
[[nodiscard]] Outcome no_answer(std::string_view from, std::string_view trouble);

[[nodiscard]] std::unique_ptr<Client> connect_raft(boost::asio::io_context& io, const ParsedUrl& url);
[[nodiscard]] std::unique_ptr<Client> connect_etcd(boost::asio::io_context& io, const ParsedUrl& url);

}  // namespace understudy::arbiter
