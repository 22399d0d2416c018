def judge(data):
    return []
