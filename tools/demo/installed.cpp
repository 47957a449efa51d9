#include "tools/demo/installed.hpp"

#include "common/error.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools {

bool is_installed(const std::string& command) {
    try {
        return run_to_end({"/bin/sh", "-c", "command -v " + command}).exit_status == 0;
    } catch (const Error&) {
        return false;
    }
}

}  // namespace understudy::tools
