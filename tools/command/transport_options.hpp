// What everything that speaks to other hosts has in common: --tls and --insecure.
#pragma once

#include <memory>
#include <string>

#include "common/tls/context.hpp"

namespace CLI {
class App;
}

namespace understudy::tools {

// Keep it alive until the options are parsed and credentials() was called.
class TransportOptions {
  public:
    // `example` of credentials, for --help.
    TransportOptions(CLI::App& app, const std::string& example);
    TransportOptions(const TransportOptions&) = delete;
    TransportOptions& operator=(const TransportOptions&) = delete;

    // Those of --tls, or null for plain text. `needed`: without --tls the user has to say --insecure. Throws
    // understudy::Error: neither or both are given, the credentials cannot be used or are no `role`'s.
    [[nodiscard]] std::shared_ptr<tls::Context> credentials(tls::Role role, bool needed) const;

  private:
    std::string credentials_;
    bool insecure_ = false;
};

// Whether this --network leads to another process by TCP, so that credentials are needed for it.
[[nodiscard]] bool needs_credentials(const std::string& network);

}  // namespace understudy::tools
