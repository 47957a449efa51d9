// The certificates of a site, in a directory that goes away.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/temporary_directory.hpp"
#include "common/tls/authority.hpp"
#include "common/tls/context.hpp"

namespace understudy::tls::testing {

inline Identity host(const std::string& name, std::vector<VmId> vms) {
    return {.role = Role::host, .name = "host-" + name, .vms = std::move(vms)};
}
inline Identity gateway(const std::string& name, std::vector<VmId> vms) {
    return {.role = Role::gateway, .name = "gateway-" + name, .vms = std::move(vms)};
}
inline Identity client(const std::string& name) {
    return {.role = Role::client, .name = "client-" + name, .vms = {}};
}

class Site {
  public:
    // Makes the certificate where there is none.
    std::shared_ptr<Context> of(const Identity& holder, std::chrono::seconds validity = kTenYears) {
        make_certificates(directory_.path(), {holder}, validity);
        return std::make_shared<Context>(directory_.path() / holder.name);
    }
    [[nodiscard]] const std::filesystem::path& path() const { return directory_.path(); }

  private:
    TemporaryDirectory directory_{"understudy-site"};
};

}  // namespace understudy::tls::testing
