// lwIP's errors as Linux's.
#pragma once

#include <asm/errno.h>

#include "guest/kernel/net/lwip.hpp"

namespace understudy::kernel {

inline int error_of(err_t error) {
    switch (error) {
        case ERR_OK:
            return 0;
        case ERR_MEM:
        case ERR_BUF:
            return ENOBUFS;
        case ERR_TIMEOUT:
        case ERR_ABRT:
            return ETIMEDOUT;  // lwIP gives up on a peer that does not answer
        case ERR_RTE:
            return ENETUNREACH;
        case ERR_INPROGRESS:
        case ERR_ALREADY:
            return EALREADY;
        case ERR_WOULDBLOCK:
            return EAGAIN;
        case ERR_USE:
            return EADDRINUSE;
        case ERR_ISCONN:
            return EISCONN;
        case ERR_CONN:
            return ENOTCONN;
        case ERR_RST:
        case ERR_CLSD:
            return ECONNRESET;
        default:
            return EINVAL;
    }
}

}  // namespace understudy::kernel
