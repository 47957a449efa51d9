// Who may speak to whom. `understudy arbiter init` makes one certificate authority for a cluster and, under it, a
// certificate for each server and for its clients; nobody without one is served. The common name says what its holder
// is:
//
//   server-<id>  one arbiter server: speaks as that peer, and serves
//   operator     may also change the cluster (add, remove, transfer, snapshot)
//   client       form, test_and_set, read, list, status
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "arbiter/raft/types.hpp"

namespace boost::asio::ssl {
class context;
}

namespace understudy::arbiter {

// PEM files in one directory: ca.pem, <name>.pem, <name>.key.
struct Credentials {
    std::filesystem::path directory;
    std::string name;  // "server-1", "client", "operator"
};

// Mutual TLS 1.3 with these credentials. Throws understudy::Error that names the missing or unusable file.
[[nodiscard]] std::unique_ptr<boost::asio::ssl::context> make_tls(const Credentials& credentials);

[[nodiscard]] std::string server_name(raft::NodeId id);
[[nodiscard]] bool is_server_name(const std::string& common_name);
[[nodiscard]] bool may_operate(const std::string& common_name);

// Writes a new authority (ca.pem, ca.key) and certificates for `names` into `directory`, valid for ten years. With an
// authority already there it is used, and only missing certificates are added. Returns the names of the files written.
// Throws understudy::Error.
std::vector<std::string> make_certificates(const std::filesystem::path& directory,
                                           const std::vector<std::string>& names);

}  // namespace understudy::arbiter
