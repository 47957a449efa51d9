#include "tools/bench/on_lan.hpp"

#include <string>

#include "tools/demo/lan.hpp"

namespace understudy::tools {

void on_lan(report::Section& section, const std::filesystem::path& image,
            const std::function<void(Site&, const BenchImage&)>& measure) {
    if (const std::string missing = Lan::missing(); !missing.empty()) {
        section.rows.push_back(report::missing_row(section.name, missing));
        return;
    }
    const BenchImage with_redis(image, {"redis-server"});
    const Lan lan;  // before anything is started
    Site site(std::filesystem::read_symlink("/proc/self/exe"));
    measure(site, with_redis);
}

}  // namespace understudy::tools
