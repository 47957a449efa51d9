// One holder's credentials, loaded: mutual TLS 1.3 under the site's authority. Who shows no certificate of that
// authority, or one that is not valid now, or not for the side that it is on, does not get through a handshake; what an
// admitted peer may do is for its identity() to say.
//
// Loaded once at a process's start and shared by its connections, from any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "common/tls/identity.hpp"

struct ssl_st;
namespace boost::asio::ssl {
class context;
}
namespace boost::system {
class error_code;
}

namespace understudy::tls {

// Of a connection.
enum class Side : std::uint8_t { dialer, acceptor };

class Context {
  public:
    // `credentials`: the files' path without ending, as users give it: "certificates/host-alpha" stands for
    // host-alpha.pem and host-alpha.key, and ca.pem beside them. Throws understudy::Error that names the missing,
    // unusable or expired file.
    explicit Context(const std::filesystem::path& credentials);
    ~Context();
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    [[nodiscard]] const Identity& self() const { return self_; }
    // Throws understudy::Error: these credentials are not a `role`'s.
    void require_role(Role role) const;
    [[nodiscard]] boost::asio::ssl::context& asio() { return *context_; }

  private:
    std::filesystem::path credentials_;
    std::unique_ptr<boost::asio::ssl::context> context_;
    Identity self_;
};

// Of the other side of a connection after its handshake; nothing: its certificate says none.
[[nodiscard]] std::optional<Identity> peer_identity(const ssl_st* connection);

// Why a handshake failed, with what to do: `error` is what the transport said, `connection` what it was about.
[[nodiscard]] std::string handshake_failure(const ssl_st* connection, const boost::system::error_code& error);

}  // namespace understudy::tls
